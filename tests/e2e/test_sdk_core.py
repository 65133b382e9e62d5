"""Alibaba Cloud's older Python core: typed requests and CommonRequest, HMAC-SHA1."""

import json

import pytest
from harness import api

core = pytest.importorskip("aliyunsdkcore.client")
from aliyunsdkcore.acs_exception.exceptions import ServerException  # noqa: E402
from aliyunsdkcore.request import CommonRequest  # noqa: E402
from aliyunsdkpvtz.request.v20180101 import (  # noqa: E402
    AddZoneRecordRequest,
    AddZoneRequest,
    BindZoneVpcRequest,
    DeleteZoneRequest,
    DescribeZoneInfoRequest,
    DescribeZoneRecordsRequest,
    DescribeZonesRequest,
    SetZoneRecordStatusRequest,
    UpdateZoneRecordRequest,
)

NAME, GATEWAY = "ecs.cn-hangzhou.aliyuncs.com", "popunify-vpc.cn-hangzhou.aliyuncs.com"


class Caller:
    def __init__(self, address, key=api.KEY, secret=api.SECRET):
        self.endpoint = "{}:{}".format(*address)
        self.client = core.AcsClient(key, secret, "cn-hangzhou", auto_retry=False, timeout=20)

    def typed(self, module, **fields):
        """A request class of the module, its fields by their setters."""
        name = module.__name__.rsplit(".", 1)[1]
        request = getattr(module, name)()
        for field, value in fields.items():
            getattr(request, f"set_{field}")(value)
        request.set_endpoint(self.endpoint)
        request.set_protocol_type("http")
        request.set_accept_format("json")
        return json.loads(self.client.do_action_with_exception(request))

    def common(self, action, method="GET", body=None, **fields):
        request = CommonRequest(domain=self.endpoint, version=api.VERSION, action_name=action)
        request.set_protocol_type("http")
        request.set_method(method)
        request.set_accept_format("json")
        for name, value in fields.items():
            request.add_query_param(name, value)
        for name, value in (body or {}).items():
            request.add_body_params(name, value)
        return json.loads(self.client.do_action_with_exception(request))


@pytest.fixture
def server(start, authority):
    return start(api.control() + api.TWO_VPCS, upstream=[authority])


def test_the_documented_flow_typed(server):
    caller = Caller(api.address_of(server))
    zone = caller.typed(AddZoneRequest, ZoneName=NAME, ProxyPattern="RECORD")["ZoneId"]
    record = caller.typed(AddZoneRecordRequest, ZoneId=zone, Rr="@", Type="CNAME", Value=GATEWAY, Ttl=60)["RecordId"]
    caller.typed(BindZoneVpcRequest, ZoneId=zone, Vpcss=[{"VpcId": "vpc-one", "RegionId": "cn-hangzhou"}])
    assert server.ask(NAME).values == [GATEWAY, "100.100.1.2"]
    assert server.ask(NAME, source=api.TWO).values == ["203.0.113.2"]
    assert [one["ZoneId"] for one in caller.typed(DescribeZonesRequest)["Zones"]["Zone"]] == [zone]
    info = caller.typed(DescribeZoneInfoRequest, ZoneId=zone)
    assert [vpc["VpcId"] for vpc in info["BindVpcs"]["Vpc"]] == ["vpc-one"]
    [shown] = caller.typed(DescribeZoneRecordsRequest, ZoneId=zone)["Records"]["Record"]
    assert (shown["RecordId"], shown["Value"], shown["Ttl"]) == (record, GATEWAY, 60)
    caller.typed(UpdateZoneRecordRequest, RecordId=record, Rr="@", Type="CNAME", Value="popunify-vpc.cn-beijing.aliyuncs.com")
    assert server.ask(NAME).values[-1] == "100.100.1.1"
    caller.typed(SetZoneRecordStatusRequest, RecordId=record, Status="DISABLE")
    assert server.ask(NAME).values == ["203.0.113.2"], "an apex without records is not configured"
    with pytest.raises(ServerException) as error:
        caller.typed(DeleteZoneRequest, ZoneId=zone)
    assert (error.value.error_code, error.value.http_status) == ("Zone.VpcExists", 400)
    assert error.value.message == "Zone have vpc bound." and error.value.request_id
    caller.typed(BindZoneVpcRequest, ZoneId=zone)
    caller.typed(DeleteZoneRequest, ZoneId=zone)
    assert caller.typed(DescribeZonesRequest)["TotalItems"] == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_documented_flow_by_common_requests(server, method):
    caller = Caller(api.address_of(server))
    zone = caller.common("AddZone", method, ZoneName=NAME, ProxyPattern="RECORD")["ZoneId"]
    caller.common("AddZoneRecord", method, ZoneId=zone, Rr="@", Type="CNAME", Value=GATEWAY, Ttl=60)
    vpc = {"Vpcs.1.VpcId": "vpc-one", "Vpcs.1.RegionId": "cn-hangzhou"}
    if method == "POST":
        caller.common("BindZoneVpc", method, body={"ZoneId": zone, **vpc})
    else:
        caller.common("BindZoneVpc", method, ZoneId=zone, **vpc)
    assert server.ask(NAME).values == [GATEWAY, "100.100.1.2"]
    remark = "a b~c_d-e,测试．"  # what percent-encoding is tried by
    caller.common("UpdateZoneRemark", method, ZoneId=zone, Remark=remark.replace("~", ""))
    assert caller.common("DescribeZoneInfo", method, ZoneId=zone)["Remark"] == remark.replace("~", "")
    caller.common("BindZoneVpc", method, ZoneId=zone)
    caller.common("DeleteZone", method, ZoneId=zone)


def test_a_wrong_secret_is_told_as_such(server):
    """The core compares the server's string to sign with its own: equal, so it is the secret that is wrong."""
    address = api.address_of(server)
    with pytest.raises(ServerException) as error:
        Caller(address, secret="wrong").typed(DescribeZonesRequest)
    assert error.value.error_code == "InvalidAccessKeySecret"
    with pytest.raises(ServerException) as error:
        Caller(address, key="nobody").common("DescribeZones")
    assert (error.value.error_code, error.value.http_status) == ("InvalidAccessKeyId.NotFound", 404)
    with pytest.raises(ServerException) as error:
        Caller(address).common("NoSuchAction")
    assert error.value.error_code == "InvalidAction.NotFound"
