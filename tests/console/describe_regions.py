"""The official client calls DescribeRegions through the name of the API, as the lab's DNS resolves it."""

import os
import socket
import sys
from urllib.parse import urlsplit

import dns.message
import dns.query
from alibabacloud_ecs20140526.client import Client
from alibabacloud_ecs20140526.models import DescribeRegionsRequest
from alibabacloud_tea_openapi.models import Config

NAME = "ecs.cn-hangzhou.aliyuncs.com"
host, port = os.environ["LAB_DNS"].rsplit(":", 1)
answer = dns.query.udp(dns.message.make_query(NAME, "A"), host, port=int(port), timeout=5)
addresses = [item.address for record in answer.answer for item in record if record.rdtype == 1]
assert addresses, answer
resolve = socket.getaddrinfo


def lookup(name, *rest, **more):
    """The lab's answer for the one name."""
    return resolve(addresses[0] if name == NAME else name, *rest, **more)


socket.getaddrinfo = lookup
stub = urlsplit(os.environ["LAB_HTTPS"])
client = Client(
    Config(
        access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        region_id="cn-hangzhou",
        endpoint=f"{NAME}:{stub.port}",
        protocol="https",
    )
)
regions = client.describe_regions(DescribeRegionsRequest()).body.regions.region
sys.stdout.write(" ".join(region.region_id for region in regions) + "\n")
