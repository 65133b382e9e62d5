"""Requests as Terraform's provider sends them: common parameters in the query, the action's own in a form body."""

import json

import pytest
from harness import api

NAME, GATEWAY = "ecs.cn-hangzhou.aliyuncs.com", "popunify-vpc.cn-hangzhou.aliyuncs.com"


class Provider:
    """The provider's ways: every request carries a region, an empty SignatureType and a source address."""

    def __init__(self, address):
        self.caller = api.Api(address)

    def request(self, action, **params):
        extra = {"SignatureType": "", "Format": "json"}
        own = {"RegionId": "cn-hangzhou", **api.flattened(params)}
        return self.caller.send(*api.v1(self.caller, action, own, "POST", "mixed", **extra))

    def call(self, action, **params):
        status, reply = self.request(action, **params)
        assert status == 200, reply
        api.check(action if action != "UnTagResources" else "UntagResources", reply)
        return reply

    def create_zone(self, name, remark="", **more):
        zone = self.call("AddZone", ZoneName=name, ClientToken=f"TF-AddZone-{name}", **more)["ZoneId"]
        if remark:
            self.call("UpdateZoneRemark", ZoneId=zone, Remark=remark)
        return zone

    def read_zone(self, zone):
        """A refresh of alicloud_pvtz_zone: three requests, and casts that panic on what is null."""
        info = self.call("DescribeZoneInfo", ZoneId=zone)
        bound = info["BindVpcs"]["Vpc"]
        assert isinstance(bound, list)
        tags = self.call("ListTagResources", ResourceType="ZONE", ResourceId=[zone])["TagResources"]
        status, task = self.request("DescribeSyncEcsHostTask", ZoneId=zone)
        if status == 200:
            assert all(isinstance(each["RegionIds"]["RegionId"], list) for each in task["EcsRegions"]["EcsRegion"])
        else:
            assert task["Code"] == "Ecs.SyncTask.NotExists"
        return info, {row["TagKey"]: row["TagValue"] for row in tags}, bound

    def find_record(self, record, zone):
        """A record is found again by paging: 20 at a time, until a short page."""
        number = 1
        while True:
            page = self.call("DescribeZoneRecords", ZoneId=zone, PageNumber=number, PageSize=20)["Records"]["Record"]
            for one in page:
                if one["RecordId"] == record:
                    return one, number
            if len(page) < 20:
                return None, number
            number += 1


@pytest.fixture
def server(start, authority):
    return start(api.control() + api.TWO_VPCS, upstream=[authority])


@pytest.fixture
def provider(server):
    return Provider(api.address_of(server))


def test_zone_attachment_and_record_live_and_die(server, provider):
    zone = provider.create_zone(NAME, remark="made by terraform", ProxyPattern="RECORD", Lang="en", UserClientIp="10.0.0.9")
    info, tags, bound = provider.read_zone(zone)
    assert (info["ZoneName"], info["Remark"], info["ProxyPattern"], tags, bound) == (NAME, "made by terraform", "RECORD", {}, [])

    # alicloud_pvtz_zone_record: Priority 1 goes with every type
    made = provider.call("AddZoneRecord", ZoneId=zone, Rr="@", Type="CNAME", Value=GATEWAY, Ttl=60, Priority=1, Remark="")
    assert isinstance(made["RecordId"], int)
    record, _ = provider.find_record(made["RecordId"], zone)
    assert (record["Rr"], record["Value"], record["Priority"], record["Status"]) == ("@", GATEWAY, 1, "ENABLE")

    # alicloud_pvtz_zone_attachment
    provider.call("BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": "vpc-one", "RegionId": "cn-hangzhou"}])
    _, _, bound = provider.read_zone(zone)
    assert [vpc["VpcId"] for vpc in bound] == ["vpc-one"]
    assert server.ask(NAME).values == [GATEWAY, "100.100.1.2"]

    # a change in place, tags, and the plan afterwards
    provider.call("UpdateZoneRecord", RecordId=made["RecordId"], Rr="@", Type="CNAME", Value=GATEWAY, Ttl=300, Priority=1)
    provider.call("SetProxyPattern", ZoneId=zone, ProxyPattern="ZONE")
    provider.call("TagResources", ResourceType="ZONE", ResourceId=[zone], Tag=[{"Key": "For", "Value": "test"}])
    info, tags, _ = provider.read_zone(zone)
    assert (info["ProxyPattern"], tags) == ("ZONE", {"For": "test"})
    assert provider.find_record(made["RecordId"], zone)[0]["Ttl"] == 300
    provider.call("UnTagResources", ResourceType="ZONE", ResourceId=[zone], TagKey=["For"])
    assert provider.read_zone(zone)[1] == {}

    # destroy: the zone's deletion is tried while it is bound, again and again
    status, reply = provider.request("DeleteZone", ZoneId=zone)
    assert (status, reply["Code"]) == (400, "Zone.VpcExists")
    provider.call("BindZoneVpc", ZoneId=zone)
    provider.call("DeleteZoneRecord", RecordId=made["RecordId"])
    provider.call("DeleteZone", ZoneId=zone)
    status, reply = provider.request("DescribeZoneInfo", ZoneId=zone)
    assert (status, reply["Code"]) == (400, "Zone.NotExists")


def test_records_are_found_on_later_pages(provider):
    zone = provider.create_zone("paged.example")
    ids = [
        provider.call("AddZoneRecord", ZoneId=zone, Rr=f"h{n}", Type="A", Value="10.0.0.1", Ttl=60, Priority=1)["RecordId"]
        for n in range(40)
    ]
    assert provider.find_record(ids[0], zone)[1] == 1
    assert provider.find_record(ids[39], zone)[1] == 2
    assert provider.find_record(1, zone) == (None, 3), "40 records: the third page is short, and empty"


def test_every_type_takes_priority_one(provider):
    zone = provider.create_zone("types.example")
    for rr, rtype, value in (("a", "A", "10.0.0.1"), ("c", "CNAME", "x.example"), ("t", "TXT", "text"),
                             ("m", "MX", "mail.example"), ("p", "PTR", "host.example"), ("_s._tcp", "SRV", "1 2 3 x.example")):
        provider.call("AddZoneRecord", ZoneId=zone, Rr=rr, Type=rtype, Value=value, Ttl=60, Priority=1)


def test_the_data_source_of_zones(provider):
    ids = {provider.create_zone(f"ds{number}.example") for number in range(60)}
    found, number = set(), 1
    while True:
        page = provider.call("DescribeZones", PageNumber=number, PageSize=50)["Zones"]["Zone"]
        found |= {zone["ZoneId"] for zone in page}
        if len(page) < 50:
            break
        number += 1
    assert found == ids


def test_resolver_resources(provider):
    subnets = [{"AzId": f"cn-hangzhou-{az}", "CidrBlock": "10.0.0.0/24", "VSwitchId": f"vsw-{az}"} for az in "ab"]
    endpoint = provider.call("AddResolverEndpoint", Name="tf", VpcId="vpc-one", VpcRegionId="cn-hangzhou",
                             SecurityGroupId="sg-1", IpConfig=subnets)["EndpointId"]
    assert provider.call("DescribeResolverEndpoint", EndpointId=endpoint)["Status"] == "SUCCESS", "waited for"
    rule = provider.call("AddResolverRule", EndpointId=endpoint, Name="tf", Type="OUTBOUND", ZoneName="corp.example",
                         ForwardIp=[{"Ip": "127.0.0.9", "Port": 53}])["RuleId"]
    provider.call("BindResolverRuleVpc", RuleId=rule, Vpc=[{"RegionId": "cn-hangzhou", "VpcId": "vpc-one"}])
    shown = provider.call("DescribeResolverRule", RuleId=rule)
    assert shown["BindVpcs"][0]["VpcUserId"] == "1" and shown["ForwardIps"] == [{"Ip": "127.0.0.9", "Port": 53}]
    provider.call("BindResolverRuleVpc", RuleId=rule)
    assert provider.call("DescribeResolverRule", RuleId=rule)["BindVpcs"] == []
    provider.call("DeleteResolverRule", RuleId=rule)
    provider.call("DeleteResolverEndpoint", EndpointId=endpoint)
    status, reply = provider.request("DescribeResolverRule", RuleId=rule)
    assert (status, reply["Code"]) == (400, "ResolverRule.NotExists")


def test_authorisations(provider):
    provider.call("AddUserVpcAuthorization", AuthorizedUserId=1234567890123456, AuthType="NORMAL", AuthChannel="RESOURCE_DIRECTORY")
    users = provider.call("DescribeUserVpcAuthorizations", AuthorizedUserId=1234567890123456)["Users"]
    assert [(user["AuthorizedUserId"], user["AuthType"]) for user in users] == [(1234567890123456, "NORMAL")]
    provider.call("DeleteUserVpcAuthorization", AuthorizedUserId=1234567890123456, AuthType="NORMAL")
    status, reply = provider.request("DeleteUserVpcAuthorization", AuthorizedUserId=1234567890123456, AuthType="NORMAL")
    assert (status, reply["Code"]) == (400, "ZoneVpc.Auth.NotExists")


def test_errors_are_strings_throughout(provider):
    status, reply = provider.request("DescribeZoneInfo", ZoneId="0" * 32)
    assert status == 400
    assert {name: type(value) for name, value in reply.items()} == {
        name: str for name in ("RequestId", "HostId", "Code", "Message", "Recommend")
    }
    assert json.dumps(reply).isascii()
