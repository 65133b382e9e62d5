"""Alibaba Cloud's Python SDK for PrivateZone, unmodified: every action, every field by the SDK's own models."""

import inspect
import json
import os
import re
import time
import typing
from pathlib import Path

import pytest
from harness import api
from harness.ask import dig
from harness.shapes import actions

pvtz = pytest.importorskip("alibabacloud_pvtz20180101.client")
from alibabacloud_pvtz20180101 import models  # noqa: E402
from alibabacloud_tea_openapi import exceptions as tea_exceptions  # noqa: E402
from alibabacloud_tea_openapi.models import Config  # noqa: E402

HOSTS = """
[[control.host]]
name = "web-1"
ip = "10.0.0.5"
region = "cn-hangzhou"
"""


class Client(pvtz.Client):
    """The SDK's client, which remembers what came before its models were made of it."""

    raw = None

    def call_api(self, *words, **options):
        self.raw = super().call_api(*words, **options)
        return self.raw


class Caller:
    """`call("AddZone", ZoneName=…)` through the SDK; the body of its typed answer."""

    def __init__(self, address, signing=None, key=api.KEY, secret=api.SECRET):
        config = Config(
            access_key_id=key,
            access_key_secret=secret,
            endpoint="{}:{}".format(*address),
            protocol="http",
            region_id="cn-hangzhou",
            signature_algorithm=signing,
        )
        self.client = Client(config)
        self.seen = {}

    def call(self, action, **fields):
        method = getattr(self.client, snake(action))
        wanted = [word for word in inspect.signature(method).parameters.values()]
        if wanted:
            request = getattr(models, f"{action}Request")()
            request.from_map(fields)
            assert {**request.to_map(), **fields} == request.to_map(), "the SDK knows all that is sent"
            body = method(request).body
        else:
            body = method().body
        check_types(body)
        self.seen.setdefault(action, []).append(self.client.raw["body"])
        return body


def snake(action):
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in action).lstrip("_")


def check_types(model, where=""):
    """Every attribute has the type that the model declares: its own constructor only keeps what it is given."""
    for name, declared in typing.get_type_hints(type(model).__init__).items():
        check_type(getattr(model, name), declared, f"{where}.{name}")


def check_type(value, declared, where):
    if value is None or declared is typing.Any:
        return
    if typing.get_origin(declared) is list:
        assert isinstance(value, list), f"{where}: {value!r}"
        for item in value:
            check_type(item, typing.get_args(declared)[0], where)
    elif hasattr(declared, "to_map"):
        assert isinstance(value, declared), f"{where}: {value!r}"
        check_types(value, where)
    else:
        assert type(value) is declared, f"{where}: {value!r} is no {declared}"


@pytest.mark.parametrize("where", ["api", "file"])
def test_a_long_list_is_paged_in_little_memory(start, tmp_path, where):
    """`LIST_RECORDS=1000000` is the long form."""
    count = int(os.environ.get("LIST_RECORDS", "20000"))
    records = [("h%07d" % n, f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}") for n in range(count)]
    text = api.control()
    if where == "file":
        (tmp_path / "long.zone").write_text("".join(f"{rr} A {value}\n" for rr, value in records))
        text += f'[[zone]]\nname = "long.example"\nfile = "{tmp_path}/long.zone"\n'
    server = start(text)
    if where == "api":
        plain = api.Api(server, patience=300)
        for first in range(0, count, 100_000):
            some = [{"Rr": rr, "Type": "A", "Value": value} for rr, value in records[first:first + 100_000]]
            body = json.dumps({"Zones": [{"ZoneName": "long.example", "Records": some}]}).encode()
            status, reply = plain.send("POST", *api.acs3(plain, "PvtzdImport", {}, body=body, kind="application/json"))
            assert status == 200, reply
    caller = Caller(api.address_of(server))
    [zone] = caller.call("DescribeZones", Keyword="long.example").zones.zone
    assert zone.record_count == count

    def page(number):
        return caller.call("DescribeZoneRecords", ZoneId=zone.zone_id, PageSize=100, PageNumber=number)

    def memory():
        status = Path(f"/proc/{server.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    page(1)
    before, found = memory(), []
    for number in range(1, count // 100 + 1):
        found += [(record.rr, record.value) for record in page(number).records.record]
        caller.seen.clear()
    assert memory() - before < 10, "MiB"
    assert found == records


SIGNINGS = pytest.mark.parametrize("signing", [None, "v2"], ids=["acs3", "v1"])


@pytest.fixture
def server(start, fake):
    return start(api.control(HOSTS) + api.TWO_VPCS, upstream=[fake()])


@SIGNINGS
def test_the_documented_flow(start, authority, signing):
    server = start(api.control() + api.TWO_VPCS, upstream=[authority])
    caller = Caller(api.address_of(server), signing)
    name, gateway = "ecs.cn-hangzhou.aliyuncs.com", "popunify-vpc.cn-hangzhou.aliyuncs.com"
    public = "203.0.113.2"
    zone = caller.call("AddZone", ZoneName=name, ProxyPattern="RECORD")
    assert zone.success is True and zone.zone_name == name
    record = caller.call("AddZoneRecord", ZoneId=zone.zone_id, Rr="@", Type="CNAME", Value=gateway, Ttl=60)
    assert record.success is True and 0 < record.record_id < 10**15
    assert server.ask(name).values == [public], "bound to no VPC it has no effect"

    vpcs = [{"VpcId": "vpc-one", "RegionId": "cn-hangzhou"}]
    caller.call("BindZoneVpc", ZoneId=zone.zone_id, Vpcs=vpcs)
    dug = dig(server.where, name)
    assert dug.answer == [f"{name}. 60 IN CNAME {gateway}.", f"{gateway}. 120 IN A 100.100.1.2"]
    assert server.ask(name, source=api.TWO).values == [public], "another VPC"
    assert server.ask(f"sub.{name}").values == ["203.0.113.102"], "the recursion proxy"

    info = caller.call("DescribeZoneInfo", ZoneId=zone.zone_id)
    assert (info.zone_name, info.proxy_pattern, info.record_count, info.is_ptr) == (name, "RECORD", 1, False)
    [vpc] = info.bind_vpcs.vpc
    assert (vpc.vpc_id, vpc.region_id, vpc.vpc_type) == ("vpc-one", "cn-hangzhou", "STANDARD")
    assert api.minutes(info.create_time) and info.create_timestamp > 10**12
    [shown] = caller.call("DescribeZoneRecords", ZoneId=zone.zone_id).records.record
    assert (shown.rr, shown.type, shown.value, shown.ttl) == ("@", "CNAME", gateway, 60)
    assert (shown.record_id, shown.status, shown.line, shown.weight) == (record.record_id, "ENABLE", "default", 1)

    caller.call("SetProxyPattern", ZoneId=zone.zone_id, ProxyPattern="ZONE")
    assert server.ask(f"sub.{name}").rcode == "NXDOMAIN"
    caller.call("UpdateZoneRecord", RecordId=record.record_id, Rr="@", Type="A", Value="10.1.1.1", Ttl=300)
    assert server.ask(name).records == [f"{name} A 10.1.1.1"] and server.ask(name).ttl == 300
    caller.call("SetZoneRecordStatus", RecordId=record.record_id, Status="DISABLE")
    assert server.ask(name).is_nodata
    caller.call("SetZoneRecordStatus", RecordId=record.record_id, Status="ENABLE")
    assert server.ask(name).values == ["10.1.1.1"]

    with pytest.raises(tea_exceptions.ClientException) as bound:
        caller.call("DeleteZone", ZoneId=zone.zone_id)
    assert (bound.value.code, bound.value.status_code) == ("Zone.VpcExists", 400)
    caller.call("BindZoneVpc", ZoneId=zone.zone_id)  # an empty list unbinds
    assert server.ask(name).values == [public]
    caller.call("DeleteZoneRecord", RecordId=record.record_id)
    caller.call("DeleteZone", ZoneId=zone.zone_id)
    assert caller.call("DescribeZones").total_items == 0


@SIGNINGS
def test_errors_are_the_sdks_own(server, signing):
    address = api.address_of(server)
    for caller, code, status in (
        (Caller(address, signing), "Zone.NotExists", 400),
        (Caller(address, signing, secret="another"), "SignatureDoesNotMatch", 400),
        (Caller(address, signing, key="nobody"), "InvalidAccessKeyId.NotFound", 404),
    ):
        with pytest.raises(tea_exceptions.ClientException) as error:
            caller.call("DescribeZoneInfo", ZoneId="0" * 32)
        assert (error.value.code, error.value.status_code) == (code, status)
        assert set(error.value.data) >= {"RequestId", "HostId", "Code", "Message", "Recommend"}
        assert error.value.data["RequestId"] in str(error.value)


@SIGNINGS
def test_every_action(server, signing):
    """One call of each of the table's actions at least; the answer has the table's fields, with their types."""
    caller = Caller(api.address_of(server), signing)
    run_all(caller, server)
    assert set(caller.seen) == set(actions())
    for action, answers in caller.seen.items():
        for answer in answers:
            api.check(action, answer)


def run_all(caller, server):
    call = caller.call
    zone = call("AddZone", ZoneName="all.example", ZoneTag="tag", ResourceGroupId="rg-1").zone_id
    assert call("CheckZoneName", ZoneName="new.example").check is True
    call("SetProxyPattern", ZoneId=zone, ProxyPattern="RECORD")
    call("UpdateZoneRemark", ZoneId=zone, Remark="a remark")
    call("ChangeZoneDnsGroup", ZoneId=zone, DnsGroup="NORMAL_ZONE")
    call("MoveResourceGroup", ResourceId=zone, NewResourceGroupId="rg-2")

    a = call("AddZoneRecord", ZoneId=zone, Rr="www", Type="A", Value="10.0.0.1", Weight=3, Remark="one").record_id
    mx = call("AddZoneRecord", ZoneId=zone, Rr="@", Type="MX", Value="mail.example", Priority=7).record_id
    call("UpdateZoneRecord", RecordId=a, Rr="www", Type="A", Value="10.0.0.2", Ttl=5)
    call("UpdateRecordRemark", RecordId=a, Remark="two")
    assert call("SetZoneRecordStatus", RecordId=a, Status="DISABLE").status == "DISABLE"
    call("UpdateZoneRecordWeight", RecordId=a, Weight=9)
    call("SetZoneLbaStatus", ZoneId=zone, Rr="www", Type="A", Line="default", Open=True)
    one = call("DescribeZoneRecord", RecordId=a)
    assert (one.value, one.ttl, one.remark, one.weight, one.zone_id) == ("10.0.0.2", 5, "two", 9, zone)
    assert call("DescribeZoneRecord", RecordId=mx).priority == 7
    assert call("DescribeZoneRecords", ZoneId=zone).total_items == 2

    call("BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": "vpc-one", "RegionId": "cn-hangzhou", "VpcType": "STANDARD"}])
    call("TagResources", ResourceType="ZONE", ResourceId=[zone], Tag=[{"Key": "k", "Value": "v"}], OverWrite=True)
    [tag] = call("ListTagResources", ResourceType="ZONE", ResourceId=[zone]).tag_resources
    assert (tag.resource_id, tag.resource_type, tag.tag_key, tag.tag_value) == (zone, "ZONE", "k", "v")
    assert [(tag.key, tag.values) for tag in call("DescribeTags", ResourceType="ZONE").tags] == [("k", ["v"])]
    info = call("DescribeZoneInfo", ZoneId=zone)
    assert (info.remark, info.dns_group, info.resource_group_id) == ("a remark", "NORMAL_ZONE", "rg-2")
    [shown] = call("DescribeZones").zones.zone
    assert [(tag.key, tag.value) for tag in shown.resource_tags.resource_tag] == [("k", "v")]
    assert [vpc.vpc_id for vpc in call("DescribeZoneVpcTree").zones.zone[0].vpcs.vpc] == ["vpc-one"]
    assert "cn-hangzhou" in [region.region_id for region in call("DescribeRegions").regions.region]
    assert call("DescribeIntranetUserCanAnalysisVpcs").total_size == 2

    region = [{"RegionId": "cn-hangzhou", "UserId": 1}]
    call("UpdateSyncEcsHostTask", ZoneId=zone, Status="ON", Region=region)
    task = call("DescribeSyncEcsHostTask", ZoneId=zone)
    assert (task.status, task.regions.region_id) == ("ON", ["cn-hangzhou"])
    assert task.ecs_regions.ecs_region[0].region_ids.region_id == ["cn-hangzhou"]

    subnet = [{"AzId": f"cn-hangzhou-{az}", "CidrBlock": "10.0.0.0/24", "VSwitchId": "vsw", "Ip": f"10.0.0.{at}"}
              for at, az in enumerate("ab", 1)]
    endpoint = call("AddResolverEndpoint", Name="out", VpcId="vpc-one", VpcRegionId="cn-hangzhou",
                    SecurityGroupId="sg", IpConfig=subnet).endpoint_id
    call("UpdateResolverEndpoint", EndpointId=endpoint, Name="outbound")
    shown = call("DescribeResolverEndpoint", EndpointId=endpoint)
    assert (shown.name, shown.status, shown.ip_configs[1].ip) == ("outbound", "SUCCESS", "10.0.0.2")
    assert call("DescribeResolverEndpoints").endpoints[0].id == endpoint
    assert call("DescribeResolverAvailableZones", ResolverRegionId="cn-hangzhou").available_zones

    rule = call("AddResolverRule", ZoneName="corp.example", Name="corp", Type="OUTBOUND", EndpointId=endpoint,
                ForwardIp=[{"Ip": "127.0.0.1", "Port": 9}]).rule_id
    call("BindResolverRuleVpc", RuleId=rule, Vpc=[{"VpcId": "vpc-one", "RegionId": "cn-hangzhou"}])
    call("UpdateResolverRule", RuleId=rule, Name="company", ForwardIp=[{"Ip": "127.0.0.1", "Port": 10}])
    shown = call("DescribeResolverRule", RuleId=rule)
    assert (shown.name, shown.type, shown.endpoint_name) == ("company", "OUTBOUND", "outbound")
    assert [(target.ip, target.port) for target in shown.forward_ips] == [("127.0.0.1", 10)]
    assert call("DescribeResolverRules", NeedDetailAttributes=True).rules[0].bind_vpcs[0].vpc_id == "vpc-one"

    call("AddUserVpcAuthorization", AuthorizedUserId=123, AuthType="NORMAL")
    assert call("DescribeUserVpcAuthorizations").users[0].authorized_user_id == 123
    call("DeleteUserVpcAuthorization", AuthorizedUserId=123, AuthType="NORMAL")
    assert call("DescribeUserServiceStatus").status == "OPENED"

    line = call("AddCustomLine", Name="office", Ipv4s=["10.1.0.0-10.1.0.255"], DnsCategory="AUTH").line_id
    call("UpdateCustomLine", LineId=line, Name="the office", Ipv4s=["10.1.0.0-10.1.1.255"])
    assert call("DescribeCustomLineInfo", LineId=line).ipv_4s == ["10.1.0.0-10.1.1.255"]
    assert call("DescribeCustomLines").custom_lines.custom_line[0].name == "the office"
    assert call("SearchCustomLines", Ipv4="10.1.1.7").total_items == 1
    call("DeleteCustomLine", LineId=line)

    assert server.ask("all.example", "MX").records == ["all.example MX 7 mail.example"]
    assert server.ask("all.example").is_nodata
    summary = call("DescribeStatisticSummary")
    [busiest] = summary.zone_request_tops.zone_request_top
    assert (summary.total_count, busiest.zone_name, busiest.request_count) == (2, "all.example", 2)
    now = int(time.time() * 1000)
    hour = {"StartTimestamp": now - 3_600_000, "EndTimestamp": now + 60_000}
    points = call("DescribeRequestGraph", **hour, ZoneId=zone).request_details.zone_request_top
    assert sum(point.request_count for point in points) == 2 and len(points) >= 61
    overview = call("DescribePvtzStatisticsGlobalOverview", OverviewPeriod="DAY").data
    assert overview.total_resolve_count == 2
    assert call("DescribePvtzStatisticsZoneOverview", OverviewPeriod="DAY").data.sudden_increase_domain_count == 0
    hour = {name: str(value) for name, value in hour.items()}
    [top] = call("DescribePvtzStatisticsSummary", StatisticalType="ZONE", **hour).page_data
    assert (top.zone_name, top.zone_id, top.count) == ("all.example", zone, 2)
    through = call("DescribePvtzStatisticsHistory", ZoneName="all.example", **hour).data
    assert sum(point.count for point in through) == 2

    changes = call("DescribeChangeLogs", PageSize=100)
    assert changes.total_items == len(changes.change_logs.change_log) > 10
    assert {change.oper_ip for change in changes.change_logs.change_log} == {"127.0.0.1"}

    call("UntagResources", ResourceType="ZONE", ResourceId=[zone], All=True)
    call("UpdateSyncEcsHostTask", ZoneId=zone, Status="OFF", Region=region)
    call("DeleteResolverRule", RuleId=rule)
    call("DeleteResolverEndpoint", EndpointId=endpoint)
    call("BindZoneVpc", ZoneId=zone)
    call("DeleteZoneRecord", RecordId=a)
    call("DeleteZone", ZoneId=zone)
