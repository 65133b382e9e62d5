"""curl, for people and scripts that speak HTTP themselves: each shape of a request, JSON and XML."""

import json
import subprocess
import xml.etree.ElementTree as tree

import pytest
from harness import api
from harness.ask import dig

NAME, GATEWAY = "ecs.cn-hangzhou.aliyuncs.com", "popunify-vpc.cn-hangzhou.aliyuncs.com"


def curl(caller, request):
    """Sends a signed request by curl; status, media type and text."""
    method, target, headers, body = request
    words = ["curl", "-sS", "--noproxy", "*", "-X", method, f"http://{caller.host}{target}"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    if body:
        words += ["--data-binary", "@-"]
    words += ["-w", "\n%{http_code} %{content_type}"]
    done = subprocess.run(words, input=body, capture_output=True, timeout=30, check=True)
    text, _, told = done.stdout.decode().rpartition("\n")
    status, kind = told.split(" ", 1)
    return int(status), kind, text


SHAPES = pytest.mark.parametrize("method,place", [("GET", "query"), ("POST", "query"), ("POST", "body"), ("POST", "mixed")])


@SHAPES
def test_the_documented_flow(start, authority, method, place):
    server = start(api.control() + api.TWO_VPCS, upstream=[authority])
    caller = api.Api(server)

    def call(action, **params):
        status, kind, text = curl(caller, api.v1(caller, action, api.flattened(params), method, place))
        assert (status, kind) == (200, "application/json;charset=utf-8"), text
        reply = json.loads(text)
        api.check(action, reply)
        return reply

    zone = call("AddZone", ZoneName=NAME, ProxyPattern="RECORD")["ZoneId"]
    record = call("AddZoneRecord", ZoneId=zone, Rr="@", Type="CNAME", Value=GATEWAY, Ttl=60)["RecordId"]
    call("BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": "vpc-one", "RegionId": "cn-hangzhou"}])
    assert dig(server.where, NAME).answer[0] == f"{NAME}. 60 IN CNAME {GATEWAY}."
    assert call("DescribeZones")["TotalItems"] == 1
    assert call("DescribeZoneRecords", ZoneId=zone)["Records"]["Record"][0]["RecordId"] == record
    call("BindZoneVpc", ZoneId=zone)
    assert dig(server.where, NAME).answer == [f"{NAME}. 120 IN A 203.0.113.2"]
    call("DeleteZone", ZoneId=zone)


def test_acs3_with_parameters_in_query_or_body(start):
    caller = api.Api(start(api.control()))
    target, headers, _ = api.acs3(caller, "AddZone", {"ZoneName": "query.example"})
    assert curl(caller, ("POST", target, headers, b""))[0] == 200
    form = "application/x-www-form-urlencoded"
    target, headers, body = api.acs3(caller, "AddZone", {}, body=b"ZoneName=body.example", kind=form)
    assert curl(caller, ("POST", target, headers, body))[0] == 200
    names = {zone["ZoneName"] for zone in caller.call("DescribeZones")["Zones"]["Zone"]}
    assert names == {"query.example", "body.example"}


def test_without_a_format_the_answer_is_xml(start):
    caller = api.Api(start(api.control()))
    caller.zone("one.example")
    caller.zone("two.example")
    status, kind, text = curl(caller, api.v1(caller, "DescribeZones", {}, Format=None))
    root = tree.fromstring(text)
    assert (status, kind, root.tag) == (200, "text/xml;charset=utf-8", "DescribeZonesResponse")
    assert {zone.findtext("ZoneName") for zone in root.iterfind("Zones/Zone")} == {"one.example", "two.example"}
    assert root.findtext("TotalItems") == "2" and root.findtext("RequestId")
    status, _, text = curl(caller, api.v1(caller, "DescribeZoneInfo", {"ZoneId": "f" * 32}, Format="XML"))
    root = tree.fromstring(text)
    assert (status, root.tag, root.findtext("Code")) == (400, "Error", "Zone.NotExists")
    assert {child.tag for child in root} == {"RequestId", "HostId", "Code", "Message", "Recommend"}


def test_a_browser_or_a_stray_request_gets_words(start):
    server = start(api.control())
    url = "http://{}:{}/".format(*api.address_of(server))
    done = subprocess.run(["curl", "-sS", "--noproxy", "*", url], capture_output=True, text=True, timeout=30, check=True)
    assert "<Code>MissingAction</Code>" in done.stdout
    for word, code in (("zones", 404), ("", 400)):
        done = subprocess.run(
            ["curl", "-s", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", url + word],
            capture_output=True, text=True, timeout=30, check=True,
        )
        assert done.stdout == str(code)
