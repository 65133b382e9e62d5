"""Three API nodes and twenty sidecars as real processes, with the official Python client. `FLEET_SIDECARS` sets how many."""

import os
import time

import pytest
from harness import api
from harness.etcd import binary
from harness.wait import until
from test_fleet import answers, etcd, node, status, values  # noqa: F401

pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")
pytest.importorskip("alibabacloud_pvtz20180101.client")

SIDECARS = int(os.environ.get("FLEET_SIDECARS", "20"))


def test_a_change_at_any_node_answers_at_all_sidecars_and_they_outlive_etcd(etcd, node, note):  # noqa: F811
    from test_sdk_python import Caller

    cluster = etcd()
    writers = [node(cluster, f"w{number}", writes=True) for number in range(3)]
    sidecars = [node(cluster, f"s{number}") for number in range(SIDECARS)]
    callers = [Caller(api.address_of(writer)) for writer in writers]
    zone = callers[0].call("AddZone", ZoneName="many.example").zone_id
    callers[0].call("BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": "vpc-one", "RegionId": "cn-hangzhou"}])
    for server in (*writers, *sidecars):
        until(lambda: status(server)["fleet"]["revision"] == cluster.head()[1], "all know the zone", 30)
    for number, caller in enumerate(callers):
        caller.call("AddZoneRecord", ZoneId=zone, Rr=f"r{number}", Type="A", Value=f"10.0.0.{number + 1}")
        begun = time.monotonic()
        for server in (*writers, *sidecars):
            answers(server, f"r{number}.many.example", [f"10.0.0.{number + 1}"])
        note("seconds until all answer", round(time.monotonic() - begun, 3))
    cluster.stop()
    for place, server in enumerate(sidecars):
        assert values(server, "r2.many.example") == ["10.0.0.3"]
        if place % 4 == 0:
            server.stop()
            again = node(cluster, f"s{place}")
            assert status(again)["ready"] and values(again, "r0.many.example") == ["10.0.0.1"]
