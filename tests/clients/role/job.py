"""A job with the role of its instance: the official Python SDKs and their default chain of credentials."""

import datetime
import json
import time
import urllib.request

from alibabacloud_credentials.client import Client as Credentials
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_ecs20140526.models import DescribeRegionsRequest
from alibabacloud_pvtz20180101.client import Client as Pvtz
from alibabacloud_pvtz20180101.models import AddZoneRequest
from alibabacloud_tea_openapi.models import Config

ROLES = "http://100.100.100.200/latest/meta-data/ram/security-credentials/"


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def told():
    """The credentials as the metadata service tells them now: id of the key, and its end."""
    said = json.loads(get(ROLES + get(ROLES)))
    return said["AccessKeyId"], datetime.datetime.strptime(said["Expiration"], "%Y-%m-%dT%H:%M:%SZ")


credentials = Credentials()
ecs = Ecs(Config(credential=credentials, region_id="cn-hangzhou"))
pvtz = Pvtz(Config(credential=credentials, region_id="cn-hangzhou", endpoint="pvtz.aliyuncs.com"))


def work(number):
    regions = ecs.describe_regions(DescribeRegionsRequest()).body.regions.region
    assert len(regions) > 20
    assert pvtz.add_zone(AddZoneRequest(zone_name=f"python-{number}.example")).body.zone_id
    return credentials.get_credential().access_key_id


_, end = told()
first = work(1)
while datetime.datetime.utcnow() <= end or told()[0] == first:
    time.sleep(0.1)
second = work(2)
assert first != second
print(first, second)
