"""@alicloud/pop-core, the RPC core of the JavaScript SDKs, by GET and by POST."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import api
from harness.process import ROOT

SCRIPT = Path(__file__).parent / "harness" / "pop.mjs"
MODULES = Path(os.environ.get("POP_CORE", ROOT / "tests" / ".env" / "node"))
NAME, GATEWAY = "ecs.cn-hangzhou.aliyuncs.com", "popunify-vpc.cn-hangzhou.aliyuncs.com"

METHODS = pytest.mark.parametrize("method", ["GET", "POST"])


@pytest.fixture
def server(start, authority):
    if not (MODULES / "node_modules" / "@alicloud" / "pop-core").is_dir() or not shutil.which("node"):
        pytest.skip("no node with @alicloud/pop-core: tests/run installs it")
    return start(api.control() + api.TWO_VPCS, upstream=[authority])


def pop(server, method, action, key=api.KEY, secret=api.SECRET, **params):
    """What pop-core makes of a call."""
    endpoint = "http://{}:{}".format(*api.address_of(server))
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        ["node", SCRIPT, endpoint, key, secret, method, action, json.dumps(params)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "POP_CORE": str(MODULES)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@METHODS
def test_the_documented_flow(server, method):
    zone = pop(server, method, "AddZone", ZoneName=NAME, ProxyPattern="RECORD")["answer"]["ZoneId"]
    made = pop(server, method, "AddZoneRecord", ZoneId=zone, Rr="@", Type="CNAME", Value=GATEWAY, Ttl=60)
    assert ["RecordId", "number"] in made["numbers"], made
    record = made["answer"]["RecordId"]
    pop(server, method, "BindZoneVpc", ZoneId=zone, **{"Vpcs.1.VpcId": "vpc-one", "Vpcs.1.RegionId": "cn-hangzhou"})
    assert server.ask(NAME).values == [GATEWAY, "100.100.1.2"]
    shown = pop(server, method, "DescribeZoneRecords", ZoneId=zone)["answer"]["Records"]["Record"]
    assert [(one["RecordId"], one["Rr"], one["Ttl"], one["Status"]) for one in shown] == [(record, "@", 60, "ENABLE")]
    pop(server, method, "SetZoneRecordStatus", RecordId=record, Status="DISABLE")
    assert server.ask(NAME).values == ["203.0.113.2"]
    pop(server, method, "UpdateZoneRemark", ZoneId=zone, Remark="a b,测试_x")
    assert pop(server, method, "DescribeZoneInfo", ZoneId=zone)["answer"]["Remark"] == "a b,测试_x"
    bound = pop(server, method, "DeleteZone", ZoneId=zone)
    assert (bound["code"], bound["name"]) == ("Zone.VpcExists", "Zone.VpcExistsError")
    assert bound["data"]["Message"] == "Zone have vpc bound."
    pop(server, method, "BindZoneVpc", ZoneId=zone)
    assert "answer" in pop(server, method, "DeleteZone", ZoneId=zone)


@METHODS
def test_errors_are_the_clients_own(server, method):
    assert pop(server, method, "DescribeZones", secret="wrong")["code"] == "SignatureDoesNotMatch"
    assert pop(server, method, "DescribeZones", key="nobody")["code"] == "InvalidAccessKeyId.NotFound"
    assert pop(server, method, "NoSuchAction")["code"] == "InvalidAction.NotFound"
    assert pop(server, method, "DescribeZoneInfo", ZoneId="f" * 32)["code"] == "Zone.NotExists"
