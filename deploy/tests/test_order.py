"""The order in which CloudFormation creates deploy/aws/pixeld.yaml, and the resources that an update does not change."""

import re
import unittest
from pathlib import Path

import yaml

TEMPLATE = (Path(__file__).parent.parent / "aws" / "pixeld.yaml").read_text()


class Order:
    """The order of creation, as CloudFormation derives it from the template."""

    def __init__(self) -> None:
        class Loader(yaml.SafeLoader):
            pass

        def function(loader: yaml.Loader, suffix: str, node: yaml.Node) -> dict:
            if isinstance(node, yaml.ScalarNode):
                value = loader.construct_scalar(node)
            elif isinstance(node, yaml.SequenceNode):
                value = loader.construct_sequence(node, deep=True)
            else:
                value = loader.construct_mapping(node, deep=True)
            return {suffix: value}

        Loader.add_multi_constructor("!", function)
        self.resources = yaml.load(TEMPLATE, Loader)["Resources"]

    def needs(self, name: str, false: str = "") -> set[str]:
        """Returns the resources that a resource needs, if all conditions are true, or all except one."""
        found, open_ends = set(), [name]
        while open_ends:
            resource = self.resources[open_ends.pop()]
            read = self.named_in([resource.get("Metadata"), resource.get("Properties")], false)
            new = (read & set(self.resources)) | set(self.depends_on(resource))
            open_ends += new - found
            found |= new
        return found

    @staticmethod
    def depends_on(resource: dict) -> list[str]:
        names = resource.get("DependsOn", [])
        return [names] if isinstance(names, str) else names

    @classmethod
    def named_in(cls, part: object, false: str = "") -> set[str]:
        """Returns the resources that a part of the template refers to, in both branches of an !If if both are possible."""
        if isinstance(part, list):
            return set().union(*(cls.named_in(item, false) for item in part))
        if not isinstance(part, dict):
            return set()
        named = set()
        for key, value in part.items():
            if key == "Ref":
                named.add(value)
            elif key == "GetAtt":
                named.add(value.split(".")[0])
            elif key in ("Sub", "Fn::Sub"):
                text, given = (value, {}) if isinstance(value, str) else value
                names = {name.split(".")[0] for name in re.findall(r"\$\{([\w.]+)\}", text)}
                named |= (names - set(given)) | cls.named_in(given, false)
            elif key == "If":
                branches = value[2:] if value[0] == false else value[1:]
                named |= {f"condition {value[0]}"} | cls.named_in(branches, false)
            else:
                named |= cls.named_in(value, false)
        return named


class OneAfterTheOther(unittest.TestCase):
    """The order of creation, which a mock does not show because it creates one resource after the other."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.order = Order()

    def test_a_public_address_is_bound_when_there_is_a_gateway(self) -> None:
        for address in ("PublicAddress", "PublicAddressAssociation", "NatAddress", "Nat"):
            self.assertIn("GatewayAttachment", self.order.needs(address), address)

    def test_no_host_boots_before_it_can_reach_the_internet(self) -> None:
        out = {"GatewayAttachment", "FrontRoute", "FrontRoutesAssociation"}
        alone = self.order.needs("Front", false="WithSecond")
        self.assertLessEqual(out | {"PublicAddressAssociation"}, alone)
        self.assertNotIn("Second", alone)
        out |= {"Nat", "SecondRoute", "SecondRoutesAssociation"}
        self.assertLessEqual(out, self.order.needs("Second"))

    def test_the_front_comes_when_the_second_host_answers_it(self) -> None:
        self.assertLessEqual({"SecondReady", "FrontToSecond", "SecondFromFront"}, self.order.needs("Front"))
        self.assertIn("Front", self.order.needs("FrontReady"))
        self.assertIn("Second", self.order.needs("SecondReady"))

    def test_zone_and_images_are_chosen_first_of_all(self) -> None:
        choice = {"ChoiceRole", "Choice", "Place", "FrontImage", "SecondImage"}
        self.assertLessEqual(self.order.needs("SecondImage"), choice)
        for name in ("NewNetwork", "NewFrontSubnet", "NatAddress", "Nat", "PublicAddress", "Front", "Second"):
            self.assertLessEqual({"Place"}, self.order.needs(name), name)
        self.assertIn("Place", self.order.needs("Gateway"))

    def test_an_image_is_chosen_again_only_if_its_name_or_architecture_changes(self) -> None:
        for host in ("Front", "Second"):
            image = self.order.resources[f"{host}Image"]["Properties"]
            self.assertEqual(self.order.named_in(image), {"Choice", "Image", "Place"})
            self.assertEqual(self.order.resources[host]["Properties"]["ImageId"], {"GetAtt": f"{host}Image.Id"})
        # The value of such a parameter is another one at each update.
        self.assertNotIn("AWS::SSM::Parameter::Value", TEMPLATE)

    def test_the_public_address_outlives_the_stack_and_volumes_have_names(self) -> None:
        self.assertEqual(self.order.resources["PublicAddress"]["DeletionPolicy"], "RetainExceptOnCreate")
        self.assertEqual(self.order.resources["PublicAddress"]["UpdateReplacePolicy"], "Retain")
        for host in ("Front", "Second"):
            self.assertIs(self.order.resources[host]["Properties"]["PropagateTagsToVolumeOnCreation"], True)

    def test_nothing_is_left_out_because_of_a_condition_of_something_else(self) -> None:
        resources = self.order.resources
        for name, resource in resources.items():
            for other in self.order.depends_on(resource):
                condition = resources[other].get("Condition")
                self.assertIn(condition, (None, resource.get("Condition")), f"{name} depends on {other}")

    def test_the_second_host_comes_and_goes_without_the_front(self) -> None:
        read = self.order.named_in(self.order.resources["Front"]["Properties"])
        of_the_second = {"SecondHost", "SecondType", "SecondPackageUrl", "SecondPackageSha256", "Credits"}
        of_the_second |= {"Second", "SecondReady", "SecondHandle"}
        of_the_second |= {"condition WithSecond", "condition WithCredits", "condition SamePackage"}
        self.assertEqual(read & of_the_second, set())
        # The resources that its properties reference must not change either.
        for name in read & set(self.order.resources):
            self.assertEqual(self.order.named_in(self.order.resources[name]) & of_the_second, set(), name)
