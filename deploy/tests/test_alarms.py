"""The alarms of the template. moto does not make them from it, but takes them as CloudFormation would give them."""

import os
import re
import unittest
from pathlib import Path

import boto3
from moto import mock_aws

from test_order import Order

USER_DATA = (Path(__file__).parent.parent / "aws" / "user-data.yaml").read_text()
TOPIC = "arn:aws:sns:us-east-1:123456789012:operators"
os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}


def resolved(part: object, topic: str) -> object:
    """A part of the template in the region us-east-1, in which resources have their names as ids."""
    if isinstance(part, list):
        items = [resolved(item, topic) for item in part]
        return [item for item in items if item != "AWS::NoValue"]
    if not isinstance(part, dict):
        return part
    match part:
        case {"Ref": "AlarmTopic"}:
            return topic
        case {"Ref": name}:
            return name
        case {"If": ["Notify", then, otherwise]}:
            return resolved(then if topic else otherwise, topic)
        case {"Sub": text}:
            return text.replace("${AWS::Partition}", "aws").replace("${AWS::Region}", "us-east-1")
    return {key: resolved(value, topic) for key, value in part.items()}


def alarms(topic: str = "") -> dict[str, dict]:
    """What CloudWatch has of the alarms, by the names that the template gives them."""
    cloudwatch = boto3.client("cloudwatch", "us-east-1")
    for name, resource in Order().resources.items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            cloudwatch.put_metric_alarm(AlarmName=name, **resolved(resource["Properties"], topic))
    return {alarm["AlarmName"]: alarm for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}


@mock_aws
class Alarms(unittest.TestCase):
    def test_both_hosts_are_watched_and_recovered(self) -> None:
        found = alarms()
        self.assertEqual(len(found), 8, list(found))
        for host in ("Front", "Second"):
            for check, action in (("System", "recover"), ("Instance", "reboot")):
                alarm = found[f"{host}{check}Alarm"]
                self.assertEqual(alarm["MetricName"], f"StatusCheckFailed_{check}")
                self.assertEqual(alarm["Dimensions"], [{"Name": "InstanceId", "Value": host}])
                self.assertEqual(alarm["AlarmActions"], [f"arn:aws:automate:us-east-1:ec2:{action}"])
            self.assertEqual(found[f"{host}DiskAlarm"]["MetricName"], "DiskUsed")
        self.assertEqual(found["ErrorsAlarm"]["MetricName"], "ServerErrors")

    def test_the_topic_is_notified_by_each_if_there_is_one(self) -> None:
        for name, alarm in alarms(TOPIC).items():
            self.assertIn(TOPIC, alarm["AlarmActions"], name)

    def test_the_metrics_are_those_that_hosts_send(self) -> None:
        sent = set(re.findall(r"\bmetric (\w+) ", USER_DATA)) - {"NAME"}
        named = {alarm["MetricName"] for alarm in alarms().values() if alarm.get("Namespace") == "pixeld"}
        self.assertEqual(named, sent)

    def test_new_hosts_do_not_break_the_one_for_credits(self) -> None:
        alarm = alarms()["CreditsAlarm"]
        expression = next(query["Expression"] for query in alarm["Metrics"] if "Expression" in query)
        low, high = map(int, re.fullmatch(r"IF\(credits < (\d+) AND used > (\d+), 1, 0\)", expression).groups())
        # A t2.xlarge starts with 120 credits. A t3 or t4g starts with none, but is not busy for 15 minutes by itself.
        self.assertLess(low, 120)
        self.assertGreaterEqual(alarm["EvaluationPeriods"] * 300, 900)
        # A t2.xlarge earns 22.5 % of its CPUs.
        self.assertLess(high, 22.5)
