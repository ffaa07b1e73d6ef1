"""Creates a stack of deploy/aws/pixeld.yaml in a mock of AWS and reads it back through the API."""

import base64
import logging
import os
import re
import subprocess
import unittest
from pathlib import Path

import boto3
import yaml
from moto import mock_aws

from choice import Failed, add_image, as_aws

AWS = Path(__file__).parent.parent / "aws"
TEMPLATE = (AWS / "pixeld.yaml").read_text()
# moto has another name for the groups of an interface, rejects parameters below /aws, and does not support Fn::Cidr.
MOCKED = TEMPLATE.replace("GroupSet:", "SecurityGroups:").replace("Default: /aws/service/debian", "Default: /debian")
for half, cidr in enumerate(("10.0.0.0/25", "10.0.0.128/25")):
    MOCKED = MOCKED.replace(f"!Select [{half}, !Cidr [!Ref VpcRange, 2, 7]]", cidr)
IMAGE = "/debian/release/13/latest/"
USER_DATA = (AWS / "user-data.yaml").read_text()
SHARED = "  # From here on: the same for all hosts.\n"
PACKAGES = {
    "PackageUrl": "https://packages.example/pixeld_0.1.0_amd64.deb",
    "PackageSha256": "1" * 64,
    "SitePackageUrl": "https://packages.example/pixeld-nginx_0.1.0_all.deb",
    "SitePackageSha256": "2" * 64,
}
ANYWHERE = [{"CidrIp": "0.0.0.0/0"}]


class Stack:
    """What became of the template, by the names that it gives to things."""

    def __init__(self, **parameters: str) -> None:
        self.ec2 = boto3.client("ec2", "us-east-1")
        self.iam = boto3.client("iam", "us-east-1")
        self.images = {}
        for name, architecture in (("amd64", "x86_64"), ("arm64", "arm64")):
            image = self.images[name] = add_image("us-east-1", name, architecture)
            ssm = boto3.client("ssm", "us-east-1")
            ssm.put_parameter(Name=IMAGE + name, Value=image, Type="String", Overwrite=True)
        given = {**PACKAGES, **parameters}
        cloudformation = boto3.client("cloudformation", "us-east-1")
        with as_aws():
            cloudformation.create_stack(
                StackName="pixeld",
                TemplateBody=MOCKED,
                Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
                Capabilities=["CAPABILITY_IAM"],
            )
        resources = cloudformation.describe_stack_resources(StackName="pixeld")["StackResources"]
        # Wait conditions are nothing to moto.
        known = [resource for resource in resources if "LogicalResourceId" in resource]
        self.ids = {resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "") for resource in known}
        self.types = [resource["ResourceType"] for resource in known]
        stack = cloudformation.describe_stacks(StackName="pixeld")["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def group(self, name: str) -> dict:
        return self.ec2.describe_security_groups(GroupIds=[self.ids[name]])["SecurityGroups"][0]

    def interface(self, name: str) -> dict:
        interfaces = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[self.ids[name]])
        return interfaces["NetworkInterfaces"][0]

    def instance(self, name: str) -> dict:
        return self.ec2.describe_instances(InstanceIds=[self.ids[name]])["Reservations"][0]["Instances"][0]

    def user_data(self, name: str) -> str:
        value = self.ec2.describe_instance_attribute(InstanceId=self.ids[name], Attribute="userData")
        return base64.b64decode(value["UserData"]["Value"]).decode()

    def common(self) -> dict:
        versions = self.ec2.describe_launch_template_versions(LaunchTemplateId=self.ids["Common"])
        return versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]

    def policies(self, name: str) -> dict[str, list[dict]]:
        """The statements of each policy of a role."""
        role = self.ids[name]
        names = self.iam.list_role_policies(RoleName=role)["PolicyNames"]
        documents = {one: self.iam.get_role_policy(RoleName=role, PolicyName=one)["PolicyDocument"] for one in names}
        return {name: as_read(document)["Statement"] for name, document in documents.items()}

    def ingress(self, name: str) -> dict[int, dict]:
        """Returns the sources that a group allows, by port."""
        rules = self.group(name)["IpPermissions"]
        assert all(rule["FromPort"] == rule["ToPort"] and rule["IpProtocol"] == "tcp" for rule in rules)
        return {rule["FromPort"]: rule for rule in rules}


def as_read(document: dict | str) -> dict:
    # moto gives a policy as Python would print it, which is YAML as well.
    return yaml.safe_load(document) if isinstance(document, str) else document


def listed(one_or_more: str | list[str]) -> list[str]:
    return [one_or_more] if isinstance(one_or_more, str) else one_or_more


def strip(ranges: list[dict]) -> list[dict]:
    return [{"CidrIp": entry["CidrIp"]} for entry in ranges]


# moto warns about each property that it does not support.
logging.getLogger("moto").setLevel(logging.ERROR)
# moto needs seconds to read its catalogue of images.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}


class AsShipped(unittest.TestCase):
    """A stack with no parameters except the packages."""

    @classmethod
    def setUpClass(cls) -> None:
        mock = mock_aws()
        mock.start()
        cls.addClassCleanup(mock.stop)
        cls.stack = Stack()

    def test_port_80_is_the_only_public_one_and_only_on_the_front(self) -> None:
        stack = self.stack
        front = stack.ingress("FrontGroup")
        self.assertEqual(list(front), [80])
        self.assertEqual(strip(front[80]["IpRanges"]), ANYWHERE)
        self.assertEqual(stack.interface("FrontInterface")["Groups"][0]["GroupId"], stack.ids["FrontGroup"])

    def test_port_8000_of_the_second_host_is_for_the_front_alone(self) -> None:
        stack = self.stack
        second = stack.ingress("SecondGroup")
        self.assertEqual(list(second), [8000], "neither ssh nor anything else")
        self.assertEqual(second[8000]["IpRanges"] + second[8000]["Ipv6Ranges"], [])
        pairs = [pair["GroupId"] for pair in second[8000]["UserIdGroupPairs"]]
        self.assertEqual(pairs, [stack.ids["FrontGroup"]])
        self.assertEqual(stack.interface("SecondInterface")["Groups"][0]["GroupId"], stack.ids["SecondGroup"])

    def test_metadata_needs_a_token_and_disks_are_encrypted(self) -> None:
        common = self.stack.common()
        options = common["MetadataOptions"]
        self.assertEqual((options["HttpTokens"], options["HttpPutResponseHopLimit"]), ("required", 1))
        [disk] = common["BlockDeviceMappings"]
        self.assertEqual((disk["DeviceName"], disk["Ebs"]["VolumeType"]), ("/dev/xvda", "gp3"))
        self.assertTrue(disk["Ebs"]["Encrypted"])
        self.assertNotIn("KeyName", common)

    def test_the_role_is_for_session_manager_and_metrics_and_nothing_else(self) -> None:
        stack = self.stack
        role = stack.ids["Role"]
        self.assertEqual(stack.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"], [])
        policies = stack.policies("Role")
        self.assertEqual(sorted(policies), ["metrics", "session-manager"])
        [statement] = policies["session-manager"]
        services = {action.split(":")[0] for action in statement["Action"]}
        self.assertEqual(services, {"ssm", "ssmmessages"})
        self.assertFalse([action for action in statement["Action"] if "*" in action or "Get" in action])
        [statement] = policies["metrics"]
        self.assertEqual(statement["Action"], "cloudwatch:PutMetricData")
        self.assertEqual(statement["Condition"], {"StringEquals": {"cloudwatch:namespace": "pixeld"}})
        trust = stack.iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        self.assertEqual(as_read(trust)["Statement"][0]["Principal"], {"Service": "ec2.amazonaws.com"})

    def test_the_function_that_chooses_can_only_look(self) -> None:
        policies = self.stack.policies("ChoiceRole")
        actions = [action for [*statements] in policies.values() for one in statements for action in listed(one["Action"])]
        self.assertEqual([action for action in actions if not action.startswith("ec2:Describe")], ["ssm:GetParameter"])

    def test_the_hosts_are_of_the_seeds_types_unless_asked_otherwise(self) -> None:
        stack = self.stack
        types = [stack.instance(name)["InstanceType"] for name in ("Front", "Second")]
        self.assertEqual(types, ["c5.xlarge", "t2.xlarge"])

    def test_a_new_network_has_both_hosts_and_lets_nobody_at_the_second_one(self) -> None:
        stack = self.stack
        front, second = stack.interface("FrontInterface"), stack.interface("SecondInterface")
        self.assertEqual(front["VpcId"], stack.ids["NewNetwork"])
        self.assertEqual(front["VpcId"], second["VpcId"])
        self.assertEqual(front["AvailabilityZone"], second["AvailabilityZone"])
        # moto keeps no association; its id is the table's.
        routes = {}
        for name in ("FrontRoutesAssociation", "SecondRoutesAssociation"):
            [table] = stack.ec2.describe_route_tables(RouteTableIds=[stack.ids[name]])["RouteTables"]
            [route] = [route for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
            routes[name] = route
        self.assertTrue(routes["FrontRoutesAssociation"]["GatewayId"].startswith("igw-"))
        self.assertEqual(routes["SecondRoutesAssociation"]["NatGatewayId"], stack.ids["Nat"])
        self.assertNotIn("Association", second)

    def test_both_hosts_get_the_user_data_that_is_tested_on_real_ones(self) -> None:
        stack = self.stack
        for name, role in (("Front", "front"), ("Second", "second")):
            given = stack.user_data(name)
            self.assertNotRegex(given, r"\$\{[A-Z]")
            pattern = re.escape(USER_DATA)
            pattern = pattern.replace(re.escape(SHARED), "")
            for placeholder in set(re.findall(r"\$\{([A-Z]\w+)\}", USER_DATA)):
                pattern = pattern.replace(re.escape("${" + placeholder + "}"), "[^'\n]*")
            self.assertRegex(given, rf"\A{pattern}\Z")
            self.assertLess(len(given), 16384)
            self.assertIn(f"role='{role}'", given)
            self.assertIn(f"package_sum='{PACKAGES['PackageSha256']}'", given)
            for variable, interface in (("front", "FrontInterface"), ("second", "SecondInterface")):
                address = stack.interface(interface)["PrivateIpAddress"]
                self.assertIn(f"{variable}='{address}'", given)

    def test_the_outputs_say_where_to_post_and_how_to_look(self) -> None:
        stack = self.stack
        self.assertEqual(stack.outputs["Endpoint"], f"http://{stack.outputs['Address']}/pixel")
        hosts = [stack.ids[name] for name in ("Front", "Second")]
        self.assertEqual(stack.outputs["Look"], f"pixeldctl stats -H {hosts[0]} -H {hosts[1]}")


@mock_aws
class WhenAsked(unittest.TestCase):
    """What the parameters change, and what they do not."""

    def test_port_443_is_public_only_when_asked(self) -> None:
        front = Stack(Https="yes").ingress("FrontGroup")
        self.assertEqual(sorted(front), [80, 443])
        self.assertEqual(strip(front[443]["IpRanges"]), ANYWHERE)

    def test_other_types_can_be_had(self) -> None:
        stack = Stack(FrontType="c6i.large", SecondType="c6i.xlarge", Credits="none")
        types = [stack.instance(name)["InstanceType"] for name in ("Front", "Second")]
        self.assertEqual(types, ["c6i.large", "c6i.xlarge"])

    def test_the_image_follows_the_architecture_of_the_types(self) -> None:
        arm = {"PackageUrl": "https://packages.example/pixeld_0.1.0_arm64.deb"}
        stack = Stack(FrontType="c7g.xlarge", SecondType="t4g.xlarge", **arm)
        images = [stack.instance(name)["ImageId"] for name in ("Front", "Second")]
        self.assertEqual(images, [stack.images["arm64"]] * 2)
        self.assertEqual(stack.common()["ImageId"], stack.images["arm64"])

    def test_a_region_without_the_types_fails_before_it_has_a_network(self) -> None:
        with self.assertRaisesRegex(Failed, "c5.xlarge is not offered in us-east-1e .*us-east-1a"):
            Stack(Zone="us-east-1e")
        own = boto3.client("ec2", "us-east-1").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])
        self.assertEqual(own["Vpcs"], [])

    def test_packages_in_s3_can_be_read_and_no_other_object(self) -> None:
        stack = Stack(
            PackageUrl="s3://bucket/a/pixeld_0.1.0_amd64.deb",
            SecondPackageUrl="s3://bucket/b/pixeld_0.2.0_amd64.deb",
            SecondPackageSha256="3" * 64,
        )
        self.assertIn("package='s3://bucket/a/pixeld_0.1.0_amd64.deb'", stack.user_data("Front"))
        read = [one for statements in stack.policies("Role").values() for one in statements if "s3" in str(one)]
        self.assertEqual([one["Action"] for one in read], ["s3:GetObject"] * 2)
        objects = [one["Resource"] for one in read]
        expected = ["arn:aws:s3:::bucket/a/pixeld_0.1.0_amd64.deb", "arn:aws:s3:::bucket/b/pixeld_0.2.0_amd64.deb"]
        self.assertEqual(objects, expected)

    def test_a_presigned_address_reaches_the_host_as_it_is(self) -> None:
        url = PACKAGES["PackageUrl"] + "?X-Amz-Credential=A%2F20261126&X-Amz-Signature=0"
        self.assertIn(f"package='{url}'\n", Stack(PackageUrl=url).user_data("Front"))
        pattern = re.search(r"  PackageUrl:\n(?:.*\n)*?    AllowedPattern: '(.*)'\n", TEMPLATE)[1].replace("''", "'")
        for good in (url, PACKAGES["PackageUrl"], "s3://my-bucket/a/b~1/p_1.2.deb"):
            self.assertRegex(good, f"^(?:{pattern})$")
        for bad in ("http://a/b.deb", "https://a/b.deb?x='y", "https://a/b.deb x", "s3://bucket/a b.deb", "s3://b.deb"):
            self.assertNotRegex(bad, f"^(?:{pattern})$")

    def test_an_existing_network_is_used_as_it_is(self) -> None:
        ec2 = boto3.client("ec2", "us-east-1")
        vpc = ec2.create_vpc(CidrBlock="192.168.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"192.168.{i}.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
            for i in (1, 2)
        ]
        stack = Stack(Vpc=vpc, FrontSubnet=subnets[0], SecondSubnet=subnets[1])
        used = [stack.interface(name)["SubnetId"] for name in ("FrontInterface", "SecondInterface")]
        self.assertEqual(used, subnets)
        self.assertEqual(stack.group("FrontGroup")["VpcId"], vpc)
        of_a_network = ("::VPC", "Subnet", "Gateway", "Route")
        new = [kind for kind in stack.types if any(part in kind for part in of_a_network)]
        self.assertEqual(new, [])
        self.assertEqual(list(stack.ingress("SecondGroup")), [8000])

    def test_the_second_host_can_be_taken_away(self) -> None:
        stack = Stack(SecondHost="no")
        self.assertNotIn("Second", stack.ids)
        self.assertIn("SecondInterface", stack.ids, "its address waits for the next one")
        self.assertEqual(stack.outputs["Look"], f"pixeldctl stats -H {stack.ids['Front']}")

    def test_the_second_host_can_be_made_of_another_package(self) -> None:
        newer = {"PackageUrl": "https://packages.example/pixeld_0.2.0_amd64.deb", "PackageSha256": "3" * 64}
        stack = Stack(**{f"Second{name}": value for name, value in newer.items()})
        for name, given in (("Front", PACKAGES), ("Second", newer)):
            data = stack.user_data(name)
            self.assertIn(f"package='{given['PackageUrl']}'", data)
            self.assertIn(f"package_sum='{given['PackageSha256']}'", data)


class UserData(unittest.TestCase):
    """What goes wrong before any host is there."""

    def test_the_scripts_are_for_a_plain_shell_and_without_a_fault(self) -> None:
        for file in yaml.safe_load(USER_DATA)["write_files"]:
            if file["content"].startswith("#!/bin/sh\n"):
                # The variables come from a file of the host.
                check = ["shellcheck", "--shell=sh", "--exclude=SC1091,SC2154", "-"]
                done = subprocess.run(check, input=file["content"], capture_output=True, text=True, check=False)
                self.assertEqual(done.stdout, "", file["path"])

    def test_it_fits_into_a_request_to_cloudformation(self) -> None:
        self.assertLess(len(TEMPLATE), 51200)
