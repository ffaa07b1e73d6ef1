"""Which zone and image a stack gets, in each region by the offerings that moto has, and which reasons it reports."""

import os
import re
import unittest
from pathlib import Path
from unittest import mock

import boto3
import moto.ec2
from botocore.exceptions import ClientError
from moto import mock_aws

from choice import PLACE, Failed, add_image, choose, client

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}


def regions() -> list[str]:
    folder = Path(moto.ec2.__file__).parent / "resources/instance_type_offerings/availability-zone"
    return sorted(file.name.removesuffix(".json.gz") for file in folder.iterdir())


def offered(region: str, kind: str) -> set[str]:
    ec2 = client("ec2", region)
    filters = [{"Name": "instance-type", "Values": [kind]}]
    offers = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=filters)
    return {offer["Location"] for offer in offers["InstanceTypeOfferings"]}


@mock_aws
class Places(unittest.TestCase):
    def test_each_region_has_a_zone_with_both_types_or_names_types_that_work(self) -> None:
        without = []
        for region in regions():
            common = offered(region, "c5.xlarge") & offered(region, "t2.xlarge")
            if common:
                zone, data = choose(region, PLACE)
                self.assertEqual((zone, data["Zone"]), (min(common), min(common)))
                continue
            without.append(region)
            with self.assertRaises(Failed) as failed:
                choose(region, PLACE)
            reason = str(failed.exception)
            self.assertIn("in no zone", reason)
            others = re.findall(r"(\S+) and (\S+) in ([\w -]+)", reason.partition("Offered: ")[2])
            self.assertTrue(others, f"{region}: {reason}")
            for front, second, zones in others:
                credits = "standard" if second.startswith("t") else "none"
                given = PLACE | {"FrontType": front, "SecondType": second, "Credits": credits}
                self.assertEqual(choose(region, given)[0], zones.split(" ")[0], region)
        self.assertEqual(len(without), 14, without)

    def test_a_zone_without_the_type_is_denied_with_those_that_have_both(self) -> None:
        zones = offered("us-east-1", "t2.xlarge") & offered("us-east-1", "c5.xlarge")
        with self.assertRaisesRegex(Failed, "c5.xlarge is not offered in us-east-1e .*us-east-1a"):
            choose("us-east-1", PLACE | {"Zone": "us-east-1e"})
        self.assertEqual(choose("us-east-1", PLACE | {"Zone": max(zones)})[0], max(zones))

    def test_a_change_keeps_the_zone_if_that_offers_the_new_type(self) -> None:
        given = PLACE | {"SecondType": "t3.xlarge"}
        self.assertEqual(choose("us-east-1", given, "Update", "us-east-1b")[0], "us-east-1b")
        with self.assertRaisesRegex(Failed, "is not offered in us-east-1e"):
            choose("us-east-1", PLACE, "Update", "us-east-1e")

    def test_architecture_follows_the_type_and_has_to_be_that_of_the_package(self) -> None:
        arm = PLACE | {"FrontType": "c7g.xlarge", "SecondType": "t4g.xlarge"}
        for url, fits in (("p.deb", True), ("pixeld_1_arm64.deb?X-Amz-Signature=a", True), ("pixeld_1_amd64.deb", False)):
            given = arm | {"PackageUrl": f"https://a.example/{url}"}
            if fits:
                architectures = choose("us-east-1", given)[1]
                self.assertEqual([architectures[f"{host}Architecture"] for host in ("Front", "Second")], ["arm64"] * 2)
            else:
                with self.assertRaisesRegex(Failed, "c7g.xlarge needs a package for arm64"):
                    choose("us-east-1", given)
        mixed = PLACE | {"SecondType": "t4g.xlarge", "PackageUrl": "s3://b/pixeld_1_amd64.deb"}
        with self.assertRaisesRegex(Failed, "t4g.xlarge needs a package for arm64, not s3://b/pixeld_1_amd64.deb"):
            choose("us-east-1", mixed)
        both = choose("us-east-1", mixed | {"SecondPackageUrl": "s3://b/pixeld_1_arm64.deb"})[1]
        self.assertEqual((both["FrontArchitecture"], both["SecondArchitecture"]), ("amd64", "arm64"))

    def test_existing_subnets_have_to_be_where_the_types_are(self) -> None:
        ec2 = boto3.client("ec2", "us-east-1")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]

        def subnet(number: int, zone: str) -> str:
            made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")
            return made["Subnet"]["SubnetId"]

        first, second, without = subnet(1, "b"), subnet(2, "c"), subnet(3, "e")
        given = PLACE | {"FrontSubnet": first, "SecondSubnet": second}
        self.assertEqual(choose("us-east-1", given)[0], "us-east-1b")
        with self.assertRaisesRegex(Failed, "t2.xlarge is not offered in us-east-1e|c5.xlarge is not offered"):
            choose("us-east-1", PLACE | {"FrontSubnet": without, "SecondSubnet": second})

    def test_a_type_without_credits_asks_for_none(self) -> None:
        with self.assertRaisesRegex(Failed, "m5.xlarge has no CPU credits; it needs Credits=none"):
            choose("us-east-1", PLACE | {"SecondType": "m5.xlarge"})

    def test_an_unknown_type_is_named(self) -> None:
        with self.assertRaisesRegex(Failed, "c99.xlarge is not offered in any zone of the region"):
            choose("us-east-1", PLACE | {"FrontType": "c99.xlarge"})


@mock_aws
class Images(unittest.TestCase):
    def setUp(self) -> None:
        ssm = boto3.client("ssm", "us-east-1")
        self.ids = {}
        for name, architecture in (("amd64", "x86_64"), ("arm64", "arm64")):
            self.ids[name] = image = add_image("us-east-1", name, architecture)
            ssm.put_parameter(Name=f"/debian/latest/{name}", Value=image, Type="String")

    def test_the_name_is_resolved_for_the_architecture(self) -> None:
        for architecture, expected in self.ids.items():
            given = {"Name": "/debian/latest/{arch}", "Architecture": architecture}
            self.assertEqual(choose("us-east-1", given), (expected, {"Id": expected, "RootDevice": "/dev/xvda"}))

    def test_an_image_can_be_named_itself_and_has_to_fit(self) -> None:
        given = {"Name": self.ids["amd64"], "Architecture": "amd64"}
        self.assertEqual(choose("us-east-1", given)[0], self.ids["amd64"])
        with self.assertRaisesRegex(Failed, "is an image for x86_64, not for arm64"):
            choose("us-east-1", given | {"Architecture": "arm64"})

    def test_a_role_without_its_permissions_yet_is_waited_for_but_not_for_ever(self) -> None:
        given = {"Name": "/debian/latest/{arch}", "Architecture": "amd64"}
        denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetParameter")
        parameter = client("ssm", "us-east-1").get_parameter(Name="/debian/latest/amd64")
        for replies, succeeds in (([denied, denied, parameter], True), ([denied] * 12, False)):
            with (
                mock.patch("time.sleep") as sleep,
                mock.patch.object(client("ssm", "us-east-1"), "get_parameter", side_effect=replies),
            ):
                if succeeds:
                    self.assertEqual(choose("us-east-1", given)[0], self.ids["amd64"])
                else:
                    self.assertRaisesRegex(Failed, "AccessDenied", choose, "us-east-1", given)
                self.assertEqual(sleep.call_count, len(replies) - 1)

    def test_a_missing_parameter_is_reported_and_a_deletion_asks_nothing(self) -> None:
        given = {"Name": "/debian/none/{arch}", "Architecture": "amd64"}
        with self.assertRaisesRegex(Failed, "ParameterNotFound"):
            choose("us-east-1", given)
        self.assertEqual(choose("us-east-1", given, "Delete", "ami-1"), ("ami-1", {}))
