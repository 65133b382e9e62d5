"""A job as users have them: the official Python SDK of ECS lists the regions. Nothing in it knows of pvtzd."""

import os

from alibabacloud_ecs20140526.client import Client
from alibabacloud_ecs20140526.models import DescribeRegionsRequest
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_util.models import RuntimeOptions

client = Client(
    Config(
        access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        region_id=os.environ["ALIBABA_CLOUD_REGION_ID"],
    )
)
options = RuntimeOptions(autoretry=False, connect_timeout=2000, read_timeout=5000)
answer = client.describe_regions_with_options(DescribeRegionsRequest(), options)
print(client._endpoint, *(region.region_id for region in answer.body.regions.region))
