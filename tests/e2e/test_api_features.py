"""What the API's zones, rules and lines do to answers, and how they are listed."""

import collections
import random

import pytest
from harness import api
from harness.fake import address
from harness.wait import until


@pytest.fixture
def server(start):
    return start(api.control() + api.TWO_VPCS)


@pytest.fixture
def caller(server):
    return api.Api(server)


def refused(code, call, *words, **params):
    with pytest.raises(api.Refused) as error:
        call(*words, **params)
    assert error.value.code == code, error.value
    return error.value


# --- zones and records ----------------------------------------------------------------------------------------


def test_every_record_type_is_answered_and_shown_as_given(server, caller):
    rows = [
        ("@", "A", "10.0.0.1"),
        ("six", "AAAA", "2001:db8::1"),
        ("alias", "CNAME", "www.other.example"),
        ("@", "MX", "mail.other.example"),
        ("text", "TXT", "v=spf1 include:x.example -all"),
        ("_sip._tcp", "SRV", "1 2 5060 sip.other.example"),
        ("*", "A", "10.0.0.2"),
        ("中文", "A", "10.0.0.3"),
    ]
    zone = caller.zone("types.example", vpcs=["vpc-one"])
    for rr, rtype, value in rows:
        caller.record(zone, rr, rtype, value, **({"Priority": 5} if rtype == "MX" else {}))
    shown = [(one["Rr"], one["Type"], one["Value"]) for one in caller.pages("DescribeZoneRecords", "Records", "Record", ZoneId=zone)]
    assert shown == rows, "in the order in which they were made"
    assert server.ask("types.example", "MX").values == ["5 mail.other.example"]
    assert server.ask("_sip._tcp.types.example", "SRV").values == ["1 2 5060 sip.other.example"]
    assert server.ask("text.types.example", "TXT").values == ['"v=spf1 include:x.example -all"']
    assert server.ask("six.types.example", "AAAA").values == ["2001:db8::1"]
    assert server.ask("any.types.example").values == ["10.0.0.2"]
    assert server.ask("xn--fiq228c.types.example").values == ["10.0.0.3"]
    assert server.ask("alias.types.example", "CNAME").values == ["www.other.example"]


def test_a_reverse_zone_is_told_as_one(server, caller):
    zone = caller.zone("1.168.192.in-addr.arpa", vpcs=["vpc-one"], records=[("7", "PTR", "host.example")])
    assert caller.call("DescribeZoneInfo", ZoneId=zone)["IsPtr"] is True
    assert server.ask("7.1.168.192.in-addr.arpa", "PTR").values == ["host.example"]


def test_an_mx_record_without_priority_shows_the_one_that_is_answered(server, caller):
    zone = caller.zone("mx.example", vpcs=["vpc-one"], records=[("@", "MX", "mail.example")])
    [shown] = caller.call("DescribeZoneRecords", ZoneId=zone)["Records"]["Record"]
    assert server.ask("mx.example", "MX").values == [f"{shown['Priority']} mail.example"]


def test_changes_show_in_the_very_next_answer(server, caller):
    zone = caller.zone("next.example", vpcs=["vpc-one"])
    record = caller.record(zone, "www", "A", "10.0.0.0", Ttl=86400)
    for number in range(1, 100):
        value = f"10.0.{number}.1"
        caller.call("UpdateZoneRecord", RecordId=record, Rr="www", Type="A", Value=value, Ttl=86400)
        assert server.ask("www.next.example").values == [value]
    caller.call("DeleteZoneRecord", RecordId=record)
    assert server.ask("www.next.example").rcode == "NXDOMAIN"
    caller.bind(zone)
    assert server.ask("www.next.example").rcode == "SERVFAIL", "no upstream here"


def test_serials_and_times_grow(server, caller):
    zone = caller.zone("serial.example", vpcs=["vpc-one"])
    serial = lambda: int(server.ask("serial.example", "SOA").values[0].split()[2])
    before, info = serial(), caller.call("DescribeZoneInfo", ZoneId=zone)
    record = caller.record(zone, "a", "A", "10.0.0.1")
    after, later = serial(), caller.call("DescribeZoneInfo", ZoneId=zone)
    assert after > before and later["UpdateTimestamp"] >= info["UpdateTimestamp"]
    assert later["CreateTimestamp"] == info["CreateTimestamp"] and later["RecordCount"] == 1
    shown = caller.call("DescribeZoneRecord", RecordId=record)
    assert shown["UpdateTimestamp"] >= shown["CreateTimestamp"] > 10**12
    assert api.minutes(shown["UpdateTime"])


def test_two_zones_of_a_name_on_different_vpcs(server, caller):
    one = caller.zone("same.example", vpcs=["vpc-one"], records=[("@", "A", "10.0.0.1")])
    two = caller.zone("same.example", vpcs=["vpc-two"], records=[("@", "A", "10.0.0.2")])
    assert server.ask("same.example").values == ["10.0.0.1"]
    assert server.ask("same.example", source=api.TWO).values == ["10.0.0.2"]
    refused("ZoneVpc.Zone.Repeated", caller.bind, two, "vpc-one", "vpc-two")
    caller.bind(one)
    caller.bind(two, "vpc-one", "vpc-two")
    assert server.ask("same.example").values == ["10.0.0.2"]


def test_binding_replaces_the_list(server, caller):
    zone = caller.zone("bind.example", vpcs=["vpc-one"], records=[("@", "A", "10.0.0.1")])
    caller.bind(zone, "vpc-two", "vpc-two")
    bound = caller.call("DescribeZoneInfo", ZoneId=zone)["BindVpcs"]["Vpc"]
    assert [(vpc["VpcId"], vpc["RegionId"]) for vpc in bound] == [("vpc-two", "cn-shanghai")]
    assert server.ask("bind.example").rcode == "SERVFAIL"
    assert server.ask("bind.example", source=api.TWO).values == ["10.0.0.1"]
    caller.bind(zone, "vpc-two")  # again: nothing changes
    caller.bind(zone)
    caller.bind(zone)
    assert caller.call("DescribeZoneInfo", ZoneId=zone)["BindVpcs"] == {"Vpc": []}


def test_zones_are_paged_and_filtered(caller):
    zones = {f"z{number:02}.Example" if number % 2 else f"z{number:02}.test": None for number in range(45)}
    for name in zones:
        zones[name] = caller.zone(name)
    assert [len(page(caller, number)) for number in (1, 2, 3, 4)] == [20, 20, 5, 0]
    everything = caller.pages("DescribeZones", "Zones", "Zone", size=7)
    assert sorted(zone["ZoneId"] for zone in everything) == sorted(zones.values()), "none twice, none missing"
    assert caller.call("DescribeZones", PageSize=100)["TotalPages"] == 1
    count = lambda **words: caller.call("DescribeZones", **words)["TotalItems"]
    assert count(Keyword="EXAMPLE") == 22 and count(Keyword="Z01") == 1
    assert count(Keyword="z01.example", SearchMode="EXACT") == 1 and count(Keyword="z01", SearchMode="EXACT") == 0
    caller.bind(zones["z00.test"], "vpc-one")
    assert count(QueryVpcId="vpc-one") == 1 and count(QueryVpcId="vpc-two") == 0
    assert count(QueryVpcId="vpc-one", QueryRegionId="cn-shanghai") == 0
    assert count(QueryRegionId="cn-hangzhou") == 1 and count(QueryRegionId="cn-shanghai") == 0
    assert count(ZoneType="AUTH_ZONE") == 45 and count(ZoneType="CLOUD_PRODUCT_ZONE") == 0
    for words in ({"PageSize": 101}, {"PageSize": 0}, {"PageNumber": 0}, {"SearchMode": "FUZZY"}):
        refused("InvalidParameter", caller.call, "DescribeZones", **words)


def page(caller, number):
    return caller.call("DescribeZones", PageNumber=number)["Zones"]["Zone"]


def test_records_are_paged_and_filtered(caller):
    zone = caller.zone("many.example")
    ids = [caller.record(zone, f"Host-{number}", "A", "10.0.0.1") for number in range(25)]
    shown = caller.pages("DescribeZoneRecords", "Records", "Record", size=10, ZoneId=zone)
    assert [one["RecordId"] for one in shown] == ids and sorted(ids) == ids
    count = lambda **words: caller.call("DescribeZoneRecords", ZoneId=zone, **words)["TotalItems"]
    assert count(Keyword="host-1") == 1, "EXACT is the default for records"
    assert count(Keyword="HOST-1", SearchMode="LIKE") == 11
    assert count(Tag="ecs") == 0


def test_the_zones_of_the_file_are_shown_and_cannot_be_changed(start):
    text = """
[[zone]]
name = "file.example"
vpcs = ["vpc-one"]
[[zone.record]]
name = "www"
type = "A"
value = ["10.0.0.1", "10.0.0.2"]
[[zone.record]]
name = "@"
type = "MX"
value = "5 mail.example"
"""
    server = start(api.control() + api.TWO_VPCS + text)
    caller = api.Api(server)
    [zone] = caller.call("DescribeZones")["Zones"]["Zone"]
    id = zone["ZoneId"]
    assert (zone["ZoneName"], zone["RecordCount"], zone["Creator"]) == ("file.example", 3, "configuration-file")
    info = caller.call("DescribeZoneInfo", ZoneId=id)
    assert [vpc["VpcId"] for vpc in info["BindVpcs"]["Vpc"]] == ["vpc-one"]
    records = caller.call("DescribeZoneRecords", ZoneId=id)["Records"]["Record"]
    assert {(one["Rr"], one["Type"], one["Value"]) for one in records} == {
        ("www", "A", "10.0.0.1"), ("www", "A", "10.0.0.2"), ("@", "MX", "mail.example"),
    }
    assert len({one["RecordId"] for one in records}) == 3
    record = records[0]["RecordId"]
    assert caller.call("DescribeZoneRecord", RecordId=record)["ZoneId"] == id
    before = caller.listing()
    for action, params in (
        ("DeleteZone", {"ZoneId": id}),
        ("SetProxyPattern", {"ZoneId": id, "ProxyPattern": "RECORD"}),
        ("UpdateZoneRemark", {"ZoneId": id, "Remark": "x"}),
        ("BindZoneVpc", {"ZoneId": id}),
        ("AddZoneRecord", {"ZoneId": id, "Rr": "a", "Type": "A", "Value": "10.0.0.9"}),
        ("UpdateZoneRecord", {"RecordId": record, "Rr": "a", "Type": "A", "Value": "10.0.0.9"}),
        ("SetZoneRecordStatus", {"RecordId": record, "Status": "DISABLE"}),
        ("DeleteZoneRecord", {"RecordId": record}),
        ("UpdateSyncEcsHostTask", {"ZoneId": id, "Status": "ON", "Region": [{"RegionId": "cn-hangzhou"}]}),
    ):
        assert refused("Zone.ReadOnly", caller.call, action, **params).status == 403
    assert caller.listing() == before
    assert caller.call("ListTagResources", ResourceType="ZONE", ResourceId=[id])["TagResources"] == []
    refused("Ecs.SyncTask.NotExists", caller.call, "DescribeSyncEcsHostTask", ZoneId=id)
    server.reload()
    assert caller.call("DescribeZones")["Zones"]["Zone"][0]["ZoneId"] == id, "ids stay"

    # A zone of the same name, made through the API: on another VPC it counts, on this one the file's does.
    other = caller.zone("file.example", records=[("www", "A", "10.0.0.7")])
    refused("ZoneVpc.Zone.Repeated", caller.bind, other, "vpc-one")
    caller.bind(other, "vpc-two")
    assert sorted(server.ask("www.file.example").values) == ["10.0.0.1", "10.0.0.2"]
    assert server.ask("www.file.example", source=api.TWO).values == ["10.0.0.7"]


def test_a_zone_that_comes_into_the_file_goes_first_until_it_leaves(start):
    text = api.control() + api.TWO_VPCS
    server = start(text)
    zone = api.Api(server).zone("both.example", vpcs=["vpc-one"], records=[("@", "A", "10.0.0.1")])
    own = '[[zone]]\nname = "both.example"\n[[zone.record]]\nname = "@"\ntype = "A"\nvalue = "10.0.0.2"\n'
    no_upstream = "\n[upstream]\nservers = []\n"
    server.reload(text + own + no_upstream)
    assert server.ask("both.example").values == ["10.0.0.2"]
    caller = api.Api(server)
    caller.record(zone, "www", "A", "10.0.0.3")  # a change of what is hidden hides nothing else
    assert server.ask("both.example").values == ["10.0.0.2"]
    server.reload(text + no_upstream)
    assert server.ask("both.example").values == ["10.0.0.1"]
    assert server.ask("www.both.example").values == ["10.0.0.3"]


def test_the_catalogues_zone_returns_when_the_apis_goes(start, authority):
    products = 'products = ["ecs"]'
    server = start(api.control().replace("products = []", products) + api.TWO_VPCS, upstream=[authority])
    caller, name = api.Api(server), "ecs.cn-hangzhou.aliyuncs.com"
    zone = caller.zone(name, vpcs=["vpc-one"], records=[("@", "A", "10.0.0.1")])
    assert server.ask(name).values == ["10.0.0.1"]
    caller.bind(zone)
    assert server.ask(name).values[-1] == "100.100.1.2"


# --- weights, lines, host names -------------------------------------------------------------------------------


def test_weights_are_shares(server, caller):
    zone = caller.zone("weights.example", vpcs=["vpc-one"])
    light = caller.record(zone, "www", "A", "10.0.0.1", Weight=10)
    caller.record(zone, "www", "A", "10.0.0.2", Weight=30)
    assert len(server.ask("www.weights.example").values) == 2, "switched off, all are answered"
    switch = {"ZoneId": zone, "Rr": "www", "Type": "A", "Line": "default"}
    caller.call("SetZoneLbaStatus", **switch, Open=True)
    assert 0.65 < share(server, "www.weights.example", "10.0.0.2") < 0.85  # of 400; 0.75 with a deviation of 0.022
    caller.call("UpdateZoneRecordWeight", RecordId=light, Weight=90)
    assert 0.15 < share(server, "www.weights.example", "10.0.0.2") < 0.35
    caller.call("SetZoneLbaStatus", **switch, Open=False)
    assert len(server.ask("www.weights.example").values) == 2


def share(server, name, value, asked=400):
    seen = collections.Counter()
    for _ in range(asked):
        [one] = server.ask(name).values
        seen[one] += 1
    return seen[value] / asked


def test_lines_tell_clients_apart_by_address(server, caller):
    line = caller.call("AddCustomLine", Name="office", Ipv4s=["127.0.0.2-127.0.0.9", "127.0.1.0/24"])["LineId"]
    zone = caller.zone("lines.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1"), ("both", "A", "10.0.0.3")])
    own = caller.record(zone, "www", "A", "10.0.0.2", Line=line)
    at = lambda source, name="www": server.ask(f"{name}.lines.example", source=source).values
    for source, value in (("127.0.0.1", 1), ("127.0.0.2", 2), ("127.0.0.9", 2), ("127.0.0.10", 1), ("127.0.1.77", 2)):
        assert at(source) == [f"10.0.0.{value}"], source
    assert at("127.0.0.2", "both") == ["10.0.0.3"], "what the line does not have comes from the default"
    refused("CustomLine.RecordExists", caller.call, "DeleteCustomLine", LineId=line)
    refused("CustomLine.RangeRepeated", caller.call, "AddCustomLine", Name="other", Ipv4s=["127.0.0.9"])
    refused("CustomLine.NameExists", caller.call, "AddCustomLine", Name="office", Ipv4s=["127.9.0.1"])
    caller.call("UpdateCustomLine", LineId=line, Name="office", Ipv4s=["127.0.0.10"])
    assert at("127.0.0.2") == ["10.0.0.1"] and at("127.0.0.10") == ["10.0.0.2"]
    caller.call("SetZoneRecordStatus", RecordId=own, Status="DISABLE")
    assert at("127.0.0.10") == ["10.0.0.1"]
    caller.call("SetZoneRecordStatus", RecordId=own, Status="ENABLE")
    assert at("127.0.0.10") == ["10.0.0.2"]
    caller.call("DeleteZoneRecord", RecordId=own)
    caller.call("DeleteCustomLine", LineId=line)
    assert at("127.0.0.10") == ["10.0.0.1"]
    refused("CustomLine.NotExists", caller.call, "DescribeCustomLineInfo", LineId=line)


HOSTS = """
[[control.host]]
name = "web-1"
ip = "10.0.0.5"
region = "cn-hangzhou"
[[control.host]]
name = "web-1"
ip = "2001:db8::5"
region = "cn-hangzhou"
[[control.host]]
name = "far"
ip = "10.0.0.6"
region = "cn-beijing"
"""


def test_host_names_come_into_a_zone_and_follow_the_hosts(start):
    text = api.control(HOSTS) + api.TWO_VPCS
    server = start(text)
    caller = api.Api(server)
    zone = caller.zone("hosts.example", vpcs=["vpc-one"], records=[("own", "A", "10.0.0.1")])
    refused("Ecs.SyncTask.NotExists", caller.call, "DescribeSyncEcsHostTask", ZoneId=zone)
    region = [{"RegionId": "cn-hangzhou"}]
    caller.call("UpdateSyncEcsHostTask", ZoneId=zone, Status="ON", Region=region)
    assert server.ask("web-1.hosts.example").values == ["10.0.0.5"]
    assert server.ask("web-1.hosts.example", "AAAA").values == ["2001:db8::5"]
    assert server.ask("far.hosts.example").rcode == "NXDOMAIN"
    synced = caller.call("DescribeZoneRecords", ZoneId=zone, Tag="ecs")["Records"]["Record"]
    assert {(one["Rr"], one["Type"]) for one in synced} == {("web-1", "A"), ("web-1", "AAAA")}
    caller.call("UpdateSyncEcsHostTask", ZoneId=zone, Status="ON", Region=[*region, {"RegionId": "cn-beijing"}])
    assert server.ask("far.hosts.example").values == ["10.0.0.6"]

    server.reload(text.replace("10.0.0.5", "10.0.0.55").replace('"far"', '"near"') + "\n[upstream]\nservers = []\n")
    server_says = lambda name: server.ask(f"{name}.hosts.example").values
    until(lambda: server_says("web-1") == ["10.0.0.55"], "the zone follows")
    assert server_says("near") == ["10.0.0.6"] and server_says("far") == [] and server_says("own") == ["10.0.0.1"]
    caller.call("UpdateSyncEcsHostTask", ZoneId=zone, Status="OFF", Region=region)
    assert caller.call("DescribeSyncEcsHostTask", ZoneId=zone)["Status"] == "OFF"


# --- forwarding -----------------------------------------------------------------------------------------------


def test_ordered_targets_of_a_rule_are_asked_by_priority(start, fake):
    usual, first, second = (fake(address(value, ttl=1)) for value in ("10.1.1.1", "10.2.2.2", "10.3.3.3"))
    server = start(api.control() + api.TWO_VPCS, upstream=[])
    caller = api.Api(server)
    rule = caller.call("AddResolverRule", ZoneName="corp.example", ForwardIp=[{"Ip": usual.host, "Port": usual.port}],
                       Vpcs=[{"VpcId": "vpc-one"}])["RuleId"]
    assert server.ask("a.corp.example").values == ["10.1.1.1"]

    def entry(priority, upstream, protocol="UDP", status="ENABLE"):
        return {"Priority": priority, "Protocol": protocol, "EnableStatus": status,
                "CustomAddresses": [getattr(upstream, "address", upstream)], "AlidnsServiceAddresses": []}

    entries = [entry(2, second), entry(1, first), entry(0, usual, status="DISABLE")]
    caller.call("UpdateResolverRule", RuleId=rule, PriorityForwardConfigs=entries)
    assert server.ask("b.corp.example").values == ["10.2.2.2"], "the lowest enabled priority"
    assert second.count("b.corp.example") == 0
    first.stop()
    assert server.ask("c.corp.example").values == ["10.3.3.3"], "the next one where it fails"
    shown = caller.call("DescribeResolverRules")["Rules"][0]["PriorityForwardConfigs"]
    assert [(one["Priority"], one["EnableStatus"], one["CustomAddresses"]) for one in shown] == [
        (2, "ENABLE", [second.address]), (1, "ENABLE", [first.address]), (0, "DISABLE", [usual.address])
    ]
    for odd in (entry(1, "dns.example", "DOT"), entry(1, first, "SMTP"), entry(1, "100.100.2.136"), entry(1, first, status="x")):
        refused("InvalidParameter", caller.call, "UpdateResolverRule", RuleId=rule, PriorityForwardConfigs=[odd])
    caller.call("UpdateResolverRule", RuleId=rule, PriorityForwardConfigs=[entry(1, second, status="DISABLE")])
    assert server.ask("d.corp.example").values == ["10.1.1.1"], "without an enabled one the targets count"


def test_a_rule_forwards_for_its_vpcs_and_no_longer(start, fake):
    corp, other, public = fake(address("10.7.7.7")), fake(address("10.8.8.8")), fake(address("192.0.2.1"))
    server = start(api.control() + api.TWO_VPCS, upstream=[public])
    caller = api.Api(server)
    target = lambda *servers: [{"Ip": one.host, "Port": one.port} for one in servers]
    rule = caller.call("AddResolverRule", ZoneName="corp.example", Name="corp", ForwardIp=target(corp))["RuleId"]
    assert server.ask("a.corp.example").values == ["192.0.2.1"], "bound to no VPC"
    caller.call("BindResolverRuleVpc", RuleId=rule, Vpc=[{"VpcId": "vpc-one"}])
    assert server.ask("a.corp.example").values == ["10.7.7.7"]
    assert server.ask("corp.example").values == ["10.7.7.7"]
    assert server.ask("a.corp.example", source=api.TWO).values == ["192.0.2.1"]
    caller.call("UpdateResolverRule", RuleId=rule, ForwardIp=target(other))
    assert server.ask("a.corp.example").values == ["10.8.8.8"], "what the former target said is forgotten"

    # The most specific rule counts; a private zone goes before both; its recursion proxy goes by the rule.
    deep = caller.call("AddResolverRule", ZoneName="deep.corp.example", ForwardIp=target(corp),
                       Vpcs=[{"VpcId": "vpc-one"}])["RuleId"]
    assert server.ask("x.deep.corp.example").values == ["10.7.7.7"]
    zone = caller.zone("zone.corp.example", proxy=True, vpcs=["vpc-one"], records=[("www", "A", "10.1.1.1")])
    assert server.ask("www.zone.corp.example").values == ["10.1.1.1"]
    assert server.ask("missing.zone.corp.example").values == ["10.8.8.8"]
    caller.call("SetProxyPattern", ZoneId=zone, ProxyPattern="ZONE")
    assert server.ask("missing.zone.corp.example").rcode == "NXDOMAIN"

    refused("ResolverRuleVpc.Zone.Repeated", caller.call, "AddResolverRule", ZoneName="CORP.example",
            ForwardIp=target(corp), Vpcs=[{"VpcId": "vpc-one"}])
    caller.call("BindResolverRuleVpc", RuleId=deep)
    assert server.ask("y.deep.corp.example").values == ["10.8.8.8"]
    caller.call("DeleteResolverRule", RuleId=rule)
    assert server.ask("b.corp.example").values == ["192.0.2.1"]
    refused("ResolverRule.NotExists", caller.call, "DescribeResolverRule", RuleId=rule)


def test_rules_keep_to_the_products_bounds(caller):
    add = lambda **words: caller.call("AddResolverRule", ZoneName="a.example", **words)
    target = lambda ip, port=53: [{"Ip": ip, "Port": port}]
    refused("MissingForwardIp", add)
    refused("InvalidParameter", add, ForwardIp=[{"Ip": f"127.0.0.{at}", "Port": 53} for at in range(1, 8)])
    for ip in ("100.100.2.136", "100.100.2.138", "100.100.2.116", "::ffff:100.100.2.136", "0.0.0.0", "224.0.0.1", "x"):
        refused("InvalidParameter", add, ForwardIp=target(ip))
    refused("InvalidParameter", add, ForwardIp=target("127.0.0.1", 0))
    refused("InvalidParameter", add, ForwardIp=target("127.0.0.1"), Type="INBOUND")
    refused("ResolverEndpoint.NotExists", add, ForwardIp=target("127.0.0.1"), EndpointId="e" * 32)
    refused("ZoneVpc.NotExists.VpcId", add, ForwardIp=target("127.0.0.1"), Vpcs=[{"VpcId": "vpc-none"}])
    assert caller.call("DescribeResolverRules")["TotalItems"] == 0


def test_endpoints_are_kept_listed_and_guarded(caller):
    subnets = [{"AzId": f"cn-hangzhou-{az}", "CidrBlock": "10.0.0.0/24", "VSwitchId": "vsw-1"} for az in "ab"]
    base = {"VpcId": "vpc-one", "VpcRegionId": "cn-hangzhou", "SecurityGroupId": "sg-1"}
    one = caller.call("AddResolverEndpoint", Name="one", IpConfig=subnets, **base)["EndpointId"]
    two = caller.call("AddResolverEndpoint", Name="two", IpConfig=subnets, **base)["EndpointId"]
    shown = caller.call("DescribeResolverEndpoint", EndpointId=one)
    assert shown["Status"] == "SUCCESS" and [ip["AzId"] for ip in shown["IpConfigs"]] == ["cn-hangzhou-a", "cn-hangzhou-b"]
    listed = [shown["Id"] for shown in caller.pages("DescribeResolverEndpoints", "Endpoints", size=1)]
    assert sorted(listed) == sorted([one, two]), "those of one millisecond are in the order of their ids"
    count = lambda **words: caller.call("DescribeResolverEndpoints", **words)["TotalItems"]
    assert count(Keyword="TW") == 1 and count(Status="FAILED") == 0 and count(VpcRegionId="cn-shanghai") == 0
    for words in ({"Name": "x" * 21}, {"IpConfig": subnets[:1]}, {"IpConfig": subnets * 4}):
        refused("InvalidParameter", caller.call, "AddResolverEndpoint", **{"Name": "x", "IpConfig": subnets, **base, **words})
    rule = caller.call("AddResolverRule", ZoneName="a.example", EndpointId=one, ForwardIp=[{"Ip": "127.0.0.1", "Port": 5}])
    refused("ResolverEndpoint.RuleExists", caller.call, "DeleteResolverEndpoint", EndpointId=one)
    caller.call("DeleteResolverRule", RuleId=rule["RuleId"])
    caller.call("DeleteResolverEndpoint", EndpointId=one)
    refused("ResolverEndpoint.NotExists", caller.call, "DescribeResolverEndpoint", EndpointId=one)


# --- tags and the log -----------------------------------------------------------------------------------------


def test_tags_are_kept_listed_and_searched(caller):
    zones = [caller.zone(f"t{number}.example") for number in range(3)]
    tag = lambda ids, **tags: caller.call("TagResources", ResourceType="ZONE", ResourceId=ids,
                                          Tag=[{"Key": key, "Value": value} for key, value in tags.items()])
    tag(zones, env="test", team="a")
    tag(zones[:1], env="live")
    listed, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        reply = caller.call("ListTagResources", ResourceType="ZONE", Size=2, **more)
        listed += [(row["ResourceId"], row["TagKey"], row["TagValue"]) for row in reply["TagResources"]]
        token = reply.get("NextToken")
        if not token:
            break
    assert sorted(listed) == sorted(
        [(zones[0], "env", "live"), (zones[1], "env", "test"), (zones[2], "env", "test")] + [(z, "team", "a") for z in zones]
    )
    count = lambda **tag: caller.call("DescribeZones", ResourceTag=[tag])["TotalItems"]
    assert count(Key="env") == 3 and count(Key="env", Value="test") == 2 and count(Key="none") == 0
    found = caller.call("ListTagResources", ResourceType="ZONE", Tag=[{"Key": "env", "Value": "live"}])["TagResources"]
    assert {row["ResourceId"] for row in found} == {zones[0]}
    tags = caller.call("DescribeTags", ResourceType="ZONE")
    assert tags["Tags"] == [{"Key": "env", "Values": ["live", "test"]}, {"Key": "team", "Values": ["a"]}]
    caller.call("UntagResources", ResourceType="ZONE", ResourceId=zones, TagKey=["env"])
    assert caller.call("DescribeTags", ResourceType="ZONE")["TotalCount"] == 1
    caller.call("UntagResources", ResourceType="ZONE", ResourceId=zones, All=True)
    assert caller.call("ListTagResources", ResourceType="ZONE", ResourceId=zones)["TagResources"] == []
    refused("InvalidParameter", tag, zones, **{f"k{number}": "v" for number in range(21)})
    refused("InvalidParameter", caller.call, "ListTagResources", ResourceType="DOMAIN")
    refused("Zone.NotExists", tag, [*zones, "f" * 32], a="b")
    assert caller.call("ListTagResources", ResourceType="ZONE")["TagResources"] == [], "all or none"


def test_the_log_tells_what_was_done_newest_first(caller):
    zone = caller.zone("log.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    caller.call("SetProxyPattern", ZoneId=zone, ProxyPattern="RECORD")
    caller.zone("other.example")
    log = caller.pages("DescribeChangeLogs", "ChangeLogs", "ChangeLog", ZoneId=zone)
    assert [(row["OperObject"], row["OperAction"]) for row in log] == [
        ("PV_ZONE", "update"), ("PV_ZONE", "bind"), ("PV_RECORD", "add"), ("PV_ZONE", "add"),
    ]
    assert log[2]["EntityName"] == "www.log.example" and "10.0.0.1" in log[2]["Content"]
    assert {row["CreatorId"] for row in log} == {api.KEY}
    count = lambda **words: caller.call("DescribeChangeLogs", **words)["TotalItems"]
    assert count() == 5 and count(EntityType="PV_RECORD") == 1 and count(Keyword="LOG.example") == 4
    middle = log[1]["OperTimestamp"]
    assert count(EndTimestamp=middle) + count(StartTimestamp=middle + 1) == 5
    before = caller.call("DescribeChangeLogs")["TotalItems"]
    caller.call("SetProxyPattern", ZoneId=zone, ProxyPattern="RECORD")
    assert count() == before, "what is so already is no change"


def test_a_token_makes_a_change_once(caller):
    token = f"token-{random.getrandbits(64):x}"
    made = [caller.call("AddZone", ZoneName="once.example", ClientToken=token)["ZoneId"] for _ in range(3)]
    assert len(set(made)) == 1 and caller.call("DescribeZones")["TotalItems"] == 1
    other = caller.call("AddZone", ZoneName="once.example", ClientToken=token + "x")["ZoneId"]
    assert other != made[0]


def test_what_is_not_documented_can_be_read_the_other_way(start, fake):
    other = 'wildcards = "off-with-proxy"\non_missing_type = "forward"\n[[control.access_key]]'
    for text, wild, missing in ((api.control(), "10.0.0.1", []), (api.control().replace("[[control.access_key]]", other), "192.0.2.1", ["192.0.2.1"])):
        server = start(text + api.TWO_VPCS, upstream=[fake(address("192.0.2.1"))])
        api.Api(server).zone("read.example", proxy=True, vpcs=["vpc-one"], records=[("*", "A", "10.0.0.1"), ("@", "TXT", "x")])
        assert server.ask("any.read.example").values == [wild]
        assert server.ask("read.example").values == missing
