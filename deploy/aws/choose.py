# Chooses the zone and the images of a stack, or fails with the reason before the stack creates anything else.
import re
import time
import boto3
import cfnresponse
from botocore.exceptions import ClientError

OTHERS = ("c5", "t3"), ("c6i", "t3"), ("c7g", "t4g"), ("c5", "m5")


def place(given, zone):
    """Returns a zone that offers both types, if possible the previous one, and the types' architectures."""
    ec2 = boto3.client("ec2")
    front, second, url = given["FrontType"], given["SecondType"], given["PackageUrl"]
    size = front.partition(".")[2]
    pairs = [(f"{a}.{size}", f"{b}.{size}") for a, b in OTHERS]
    kind = {"Name": "zone-type", "Values": ["availability-zone"]}
    zones = {zone["ZoneName"]: set() for zone in ec2.describe_availability_zones(Filters=[kind])["AvailabilityZones"]}
    wanted = {"Name": "instance-type", "Values": sorted({front, second}.union(*pairs))}
    offers = ec2.get_paginator("describe_instance_type_offerings")
    for page in offers.paginate(LocationType="availability-zone", Filters=[wanted]):
        for offer in page["InstanceTypeOfferings"]:
            zones.get(offer["Location"], set()).add(offer["InstanceType"])

    def offering(*types):
        return sorted(name for name, offered in zones.items() if offered.issuperset(types))

    if given["FrontSubnet"]:
        subnets = ec2.describe_subnets(SubnetIds=[given["FrontSubnet"], given["SecondSubnet"]])["Subnets"]
        zone_of = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in subnets}
        places = [(front, zone_of[given["FrontSubnet"]]), (second, zone_of[given["SecondSubnet"]])]
    else:
        zone = given["Zone"] or zone or (offering(front, second) or ["any zone of the region"])[0]
        places = [(front, zone), (second, zone)]
    for name, zone in places:
        if zone not in offering(name):
            other = "; ".join(f"{a} and {b} in {' '.join(offering(a, b))}" for a, b in pairs if offering(a, b))
            both = f"{front} and {second} together: {' '.join(offering(front, second)) or 'in no zone'}"
            raise ValueError(f"{name} is not offered in {zone} ({both}). Offered: {other or 'none of the usual types'}")

    architectures = {}
    for found in ec2.describe_instance_types(InstanceTypes=sorted({front, second}))["InstanceTypes"]:
        if found["InstanceType"] == second and not found["BurstablePerformanceSupported"] and given["Credits"] != "none":
            raise ValueError(f"{second} has no CPU credits; it needs Credits=none")
        arm = "arm64" in found["ProcessorInfo"]["SupportedArchitectures"]
        architectures[found["InstanceType"]] = "arm64" if arm else "amd64"
    for name, package in ((front, url), (second, given["SecondPackageUrl"] or url)):
        if re.search(r"_(amd64|arm64)\.deb", package + f"_{architectures[name]}.deb")[1] != architectures[name]:
            raise ValueError(f"{name} needs a package for {architectures[name]}, not {package.partition('?')[0]}")
    return places[0][1], {
        "Zone": places[0][1],
        "FrontArchitecture": architectures[front],
        "SecondArchitecture": architectures[second],
    }


def image(given, _):
    """Returns the image that a public parameter names. CloudFormation asks again only if the name changes."""
    name = given["Name"].replace("{arch}", given["Architecture"])
    if not name.startswith("ami-"):
        name = boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    found = boto3.client("ec2").describe_images(ImageIds=[name])["Images"][0]
    if found["Architecture"].replace("x86_64", "amd64") != given["Architecture"]:
        raise ValueError(f"{name} is an image for {found['Architecture']}, not for {given['Architecture']}")
    return name, {"Id": name, "RootDevice": found["RootDeviceName"]}


def allowed(choose, *given):
    """Retries for a minute, because the permissions of a new role take effect after some seconds."""
    for tries in range(12):
        try:
            return choose(*given)
        except ClientError as error:
            if tries == 11 or error.response["Error"]["Code"] not in ("AccessDeniedException", "UnauthorizedOperation"):
                raise
            time.sleep(5)


def handler(event, context):
    given, before = event["ResourceProperties"], event.get("PhysicalResourceId")
    try:
        if event["RequestType"] == "Delete":
            found = before, {}
        else:
            found = allowed(image if "Name" in given else place, given, before)
        cfnresponse.send(event, context, cfnresponse.SUCCESS, found[1], found[0])
    except Exception as error:  # Without a response, CloudFormation waits for an hour.
        cfnresponse.send(event, context, cfnresponse.FAILED, {}, before or "none", reason=str(error))
