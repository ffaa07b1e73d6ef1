"""Runs the function of the template that chooses a zone and images, as Lambda would, with a mock of AWS."""

import contextlib
import functools
import types
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import boto3

SOURCE = (Path(__file__).parent.parent / "aws" / "choose.py").read_text()
NOTHING = dict.fromkeys(("Zone", "FrontSubnet", "SecondSubnet", "SecondPackageUrl"), "")
PLACE = NOTHING | {
    "FrontType": "c5.xlarge",
    "SecondType": "t2.xlarge",
    "Credits": "standard",
    "PackageUrl": "https://a.example/p.deb",
}


def add_image(region: str, name: str, architecture: str) -> str:
    """An image with what moto keeps of those in its catalogue only, which takes seconds to read."""
    from moto.ec2.models import ec2_backends

    image = boto3.client("ec2", region).register_image(Name=name, RootDeviceName="/dev/xvda")["ImageId"]
    kept = ec2_backends["123456789012"][region].amis[image]
    kept.architecture, kept.root_device_name = architecture, "/dev/xvda"
    return image


# To make one takes a tenth of a second.
client = functools.cache(boto3.client)


class Failed(Exception):
    """The reason that CloudFormation shows."""


def choose(region: str, properties: dict, request: str = "Create", before: str | None = None) -> tuple[str, dict]:
    """The physical id and the attributes of a resource that the function makes."""
    sent = []

    def send(event, context, status, data, physical_id, reason=None) -> None:  # noqa: ANN001
        sent.append((status, data, physical_id, reason))

    cfnresponse = types.SimpleNamespace(send=send, SUCCESS="SUCCESS", FAILED="FAILED")
    event = {"RequestType": request, "ResourceProperties": properties}
    if before:
        event["PhysicalResourceId"] = before
    with (
        mock.patch.dict("sys.modules", cfnresponse=cfnresponse),
        mock.patch("boto3.client", lambda service: client(service, region)),
    ):
        function: dict = {}
        exec(compile(SOURCE, "choose.py", "exec"), function)  # noqa: S102
        function["handler"](event, None)
    [(status, data, physical_id, reason)] = sent
    if status == "FAILED":
        raise Failed(reason)
    return physical_id, data


@contextlib.contextmanager
def as_aws() -> Iterator[None]:
    """Has moto call the function where it would start a container for Lambda, and leave out what has no value."""
    from moto.cloudformation.custom_model import CustomModel
    from moto.iam.models import Role

    def choose_in_place(resource_name, cloudformation_json, account_id, region_name, **kwargs):  # noqa: ANN001, ANN003, ANN202
        _, data = choose(region_name, cloudformation_json["Properties"])
        resource = CustomModel(region_name, "request", kwargs["LogicalId"], resource_name)
        resource.set_data(data)
        return resource

    make_role = Role.create_from_cloudformation_json

    def role(resource_name, cloudformation_json, *args, **kwargs):  # noqa: ANN001, ANN002, ANN003, ANN202
        properties = cloudformation_json["Properties"]
        properties["Policies"] = [policy for policy in properties["Policies"] if policy]
        return make_role(resource_name, cloudformation_json, *args, **kwargs)

    with (
        mock.patch.object(CustomModel, "create_from_cloudformation_json", choose_in_place),
        mock.patch.object(Role, "create_from_cloudformation_json", role),
    ):
        yield
