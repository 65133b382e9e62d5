"""What the API says to what is wrong: the documented code, nothing changed, nobody else disturbed."""

import datetime
import socket
import threading
import time

import pytest
from harness import api

FORM = "application/x-www-form-urlencoded"
NOTHING = "f" * 32  # the id of nothing


@pytest.fixture
def server(start):
    return start(api.control() + api.TWO_VPCS)


@pytest.fixture
def caller(server):
    return api.Api(server)


@pytest.fixture
def world(caller):
    """Something of each kind, to be hurt: ids by name."""
    zone = caller.zone("a.example", vpcs=["vpc-one"], records=[("own", "A", "10.0.0.1"), ("alias", "CNAME", "x.example")])
    records = caller.pages("DescribeZoneRecords", "Records", "Record", ZoneId=zone)
    subnets = [{"AzId": az, "CidrBlock": "10.0.0.0/24", "VSwitchId": "v"} for az in "ab"]
    endpoint = caller.call("AddResolverEndpoint", Name="e", VpcId="vpc-one", VpcRegionId="r", SecurityGroupId="s", IpConfig=subnets)
    rule = caller.call("AddResolverRule", ZoneName="r.example", ForwardIp=[{"Ip": "127.0.0.1", "Port": 9}])
    line = caller.call("AddCustomLine", Name="l", Ipv4s=["127.3.0.1"])
    return {
        "zone": zone, "record": records[0]["RecordId"], "alias": records[1]["RecordId"], "subnets": subnets,
        "endpoint": endpoint["EndpointId"], "rule": rule["RuleId"], "line": line["LineId"],
    }


def code_of(reply):
    status, fields = reply
    assert set(fields) == {"RequestId", "HostId", "Code", "Message", "Recommend"}, fields
    assert all(isinstance(value, str) and value for value in fields.values()), fields
    return status, fields["Code"]


# --- the gateway ----------------------------------------------------------------------------------------------


def both_ways(caller, action="DescribeZones", **params):
    """A request signed in each of the two ways."""
    params = api.flattened(params)
    yield "v1", lambda: caller.send(*api.v1(caller, action, params))
    yield "acs3", lambda: caller.send("POST", *api.acs3(caller, action, params))


def test_a_wrong_key_or_secret(caller):
    before = caller.listing()
    nobody, liar = api.Api(caller.address, key="nobody"), api.Api(caller.address, secret="wrong")
    for way, send in both_ways(nobody, "AddZone", ZoneName="x.example"):
        assert code_of(send()) == (404, "InvalidAccessKeyId.NotFound"), way
    for way, send in both_ways(liar, "AddZone", ZoneName="x.example"):
        reply = send()
        assert code_of(reply) == (400, "SignatureDoesNotMatch"), way
        head = "Specified signature is not matched with our calculation. server string to sign is:"
        assert reply[1]["Message"].startswith(head) and reply[1]["Message"].count(":") >= 1
    assert caller.listing() == before


def test_the_string_to_sign_is_told_after_the_first_colon(caller):
    liar = api.Api(caller.address, secret="wrong")
    params = {"Keyword": "a b*~:c"}
    request = api.v1(liar, "DescribeZones", params, SignatureNonce="n", Timestamp=api.now())
    _, reply = caller.send(*request)
    told = reply["Message"].split(":", 1)[1]
    assert told.startswith("GET&%2F&AccessKeyId%3D") and ":" not in told, "the python core splits at every colon"
    assert "Keyword%3Da%2520b%252A~%253Ac" in told


def test_whatever_is_changed_after_signing_is_refused(caller):
    method, target, headers, body = api.v1(caller, "AddZone", {"ZoneName": "a.example"})
    assert code_of(caller.send(method, target.replace("a.example", "b.example"), headers, body)) == (400, "SignatureDoesNotMatch")
    assert code_of(caller.send("POST", target, headers, b"")) == (400, "SignatureDoesNotMatch"), "the method is signed"
    headers = {**headers, "content-type": FORM}
    assert code_of(caller.send("POST", target, headers, b"ProxyPattern=RECORD"))[1] == "SignatureDoesNotMatch"
    target, headers, _ = api.acs3(caller, "AddZone", {"ZoneName": "a.example"})
    for name, value in (("x-acs-action", "DescribeZones"), ("x-acs-date", "2020-01-01T00:00:00Z"), ("host", "elsewhere")):
        status, reply = caller.send("POST", target, {**headers, name: value})
        assert status == 400 and reply["Code"] in ("SignatureDoesNotMatch", "InvalidTimeStamp.Expired"), name
    form = api.acs3(caller, "AddZone", {}, body=b"ZoneName=a.example", kind=FORM)
    assert code_of(caller.send("POST", form[0], form[1], b"ZoneName=b.example"))[1] == "SignatureDoesNotMatch"
    assert caller.call("DescribeZones")["TotalItems"] == 0


def test_the_clock(caller):
    def at(minutes):
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    for minutes, code in ((-16, "InvalidTimeStamp.Expired"), (16, "InvalidTimeStamp.Expired"), (-14, None), (14, None)):
        for reply in (
            caller.send(*api.v1(caller, "DescribeZones", {}, Timestamp=at(minutes))),
            caller.send("POST", *api.acs3(caller, "DescribeZones", {}, date=at(minutes))),
        ):
            assert reply[1].get("Code") == code, (minutes, reply)
    for text in ("yesterday", "2026-02-30T00:00:00Z", "1700000000", "2026-01-01 00:00:00"):
        assert code_of(caller.send(*api.v1(caller, "DescribeZones", {}, Timestamp=text))) == (400, "InvalidTimeStamp.Format")
        assert code_of(caller.send("POST", *api.acs3(caller, "DescribeZones", {}, date=text))) == (400, "InvalidTimeStamp.Format")


def test_a_replay_changes_nothing(caller):
    for way, request in (
        ("v1", api.v1(caller, "AddZone", {"ZoneName": "a.example"}, "POST")),
        ("acs3", ("POST", *api.acs3(caller, "AddZone", {"ZoneName": "b.example"}))),
    ):
        assert caller.send(*request)[0] == 200
        for _ in range(3):
            assert code_of(caller.send(*request)) == (400, "SignatureNonceUsed"), way
    assert caller.call("DescribeZones")["TotalItems"] == 2


@pytest.mark.parametrize("name", ["Action", "Version", "AccessKeyId", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp"])
def test_what_every_request_needs(caller, name):
    assert code_of(caller.send(*api.v1(caller, "DescribeZones", {}, **{name: None}))) == (400, f"Missing{name}")


def test_what_the_gateway_does_not_know(caller):
    for action in ("NoSuchAction", "", "Describe Zones", "x" * 5000, "../etc"):
        for _, send in both_ways(caller, action):
            status, code = code_of(send())
            assert (status, code) in ((404, "InvalidAction.NotFound"), (400, "MissingAction"), (400, "Missingx-acs-action"), (400, "IncompleteSignature")), (action, code)
    assert code_of(caller.send(*api.v1(caller, "DescribeZones", {}, Version="2014-05-26"))) == (400, "InvalidVersion")
    assert code_of(caller.send(*api.v1(caller, "DescribeZones", {}, SignatureMethod="HMAC-MD5")))[0] == 400
    target, headers, _ = api.acs3(caller, "DescribeZones", {})
    other = headers["authorization"].replace("ACS3-HMAC-SHA256", "ACS3-HMAC-SM3")
    assert code_of(caller.send("POST", target, {**headers, "authorization": other}))[0] == 400
    for name in ("x-acs-date", "x-acs-signature-nonce", "x-acs-version"):
        assert code_of(caller.send("POST", *api.acs3(caller, "DescribeZones", {}, drop=(name,))))[0] == 400
    unsigned = headers["authorization"].split(",")[0]
    assert code_of(caller.send("POST", target, {**headers, "authorization": unsigned})) == (400, "IncompleteSignature")
    assert code_of(caller.send("PUT", target, headers)) == (405, "InvalidHttpMethod")


def test_unknown_parameters_are_ignored(caller):
    more = {"RegionId": "x", "SourceIp": "1.2.3.4", "SecureTransport": "true", "Lang": "zh", "UserClientIp": "", "x": "é中"}
    assert caller.v1("DescribeZones", **more)["TotalItems"] == 0
    assert caller.v1("describezones")["TotalItems"] == 0 if "describezones" in api.TABLE else True


# --- every action ---------------------------------------------------------------------------------------------

# Enough for each action to be carried out; `$name` is an id of the world.
WHOLE = {
    "AddZone": {"ZoneName": "new.example"},
    "DeleteZone": {"ZoneId": "$zone"},
    "DescribeZoneInfo": {"ZoneId": "$zone"},
    "SetProxyPattern": {"ZoneId": "$zone", "ProxyPattern": "RECORD"},
    "UpdateZoneRemark": {"ZoneId": "$zone", "Remark": "x"},
    "CheckZoneName": {"ZoneName": "new.example"},
    "ChangeZoneDnsGroup": {"ZoneId": "$zone", "DnsGroup": "NORMAL_ZONE"},
    "MoveResourceGroup": {"ResourceId": "$zone", "NewResourceGroupId": "rg"},
    "AddZoneRecord": {"ZoneId": "$zone", "Rr": "new", "Type": "A", "Value": "10.0.0.9"},
    "UpdateZoneRecord": {"RecordId": "$record", "Rr": "new", "Type": "A", "Value": "10.0.0.9"},
    "SetZoneRecordStatus": {"RecordId": "$record", "Status": "DISABLE"},
    "DeleteZoneRecord": {"RecordId": "$record"},
    "DescribeZoneRecords": {"ZoneId": "$zone"},
    "DescribeZoneRecord": {"RecordId": "$record"},
    "UpdateRecordRemark": {"RecordId": "$record", "Remark": "x"},
    "UpdateZoneRecordWeight": {"RecordId": "$record", "Weight": 5},
    "SetZoneLbaStatus": {"ZoneId": "$zone", "Rr": "own", "Type": "A", "Line": "default", "Open": True},
    "BindZoneVpc": {"ZoneId": "$zone", "Vpcs": [{"VpcId": "vpc-two"}]},
    "DescribeSyncEcsHostTask": {"ZoneId": "$zone"},
    "UpdateSyncEcsHostTask": {"ZoneId": "$zone", "Status": "ON", "Region": [{"RegionId": "cn-hangzhou"}]},
    "ListTagResources": {"ResourceType": "ZONE"},
    "TagResources": {"ResourceType": "ZONE", "ResourceId": ["$zone"], "Tag": [{"Key": "k", "Value": "v"}]},
    "UntagResources": {"ResourceType": "ZONE", "ResourceId": ["$zone"], "TagKey": ["k"]},
    "DescribeTags": {"ResourceType": "ZONE"},
    "AddResolverEndpoint": {"Name": "x", "VpcId": "vpc-one", "VpcRegionId": "r", "SecurityGroupId": "s", "IpConfig": "$subnets"},
    "UpdateResolverEndpoint": {"EndpointId": "$endpoint", "Name": "x"},
    "DeleteResolverEndpoint": {"EndpointId": "$endpoint"},
    "DescribeResolverEndpoint": {"EndpointId": "$endpoint"},
    "DescribeResolverAvailableZones": {"ResolverRegionId": "cn-hangzhou"},
    "AddResolverRule": {"ZoneName": "x.example", "ForwardIp": [{"Ip": "127.0.0.1", "Port": 5}]},
    "UpdateResolverRule": {"RuleId": "$rule", "Name": "x"},
    "DeleteResolverRule": {"RuleId": "$rule"},
    "DescribeResolverRule": {"RuleId": "$rule"},
    "BindResolverRuleVpc": {"RuleId": "$rule", "Vpc": [{"VpcId": "vpc-one"}]},
    "AddUserVpcAuthorization": {"AuthorizedUserId": 5},
    "DeleteUserVpcAuthorization": {"AuthorizedUserId": 5},
    "AddCustomLine": {"Name": "x", "Ipv4s": ["127.9.0.1"]},
    "UpdateCustomLine": {"LineId": "$line", "Ipv4s": ["127.9.0.1"]},
    "DeleteCustomLine": {"LineId": "$line"},
    "DescribeCustomLineInfo": {"LineId": "$line"},
}

# Parameters that the table does not call mandatory, but that an action can do nothing without.
NEEDED = {"AddZone": ["ZoneName"]}

# May be empty on purpose.
MAY_BE_EMPTY = {("UpdateZoneRemark", "Remark"), ("UpdateRecordRemark", "Remark")}

UNKNOWN = {
    "ZoneId": (NOTHING, "Zone.NotExists"),
    "ResourceId": (NOTHING, "Zone.NotExists"),
    "RecordId": (999, "Record.NotExists"),
    "EndpointId": (NOTHING, "ResolverEndpoint.NotExists"),
    "RuleId": (NOTHING, "ResolverRule.NotExists"),
    "LineId": (NOTHING, "CustomLine.NotExists"),
}


def filled(action, world):
    def fill(value):
        if isinstance(value, str) and value.startswith("$"):
            return world[value[1:]]
        return [fill(item) for item in value] if isinstance(value, list) else value

    return {name: fill(value) for name, value in WHOLE[action].items()}


def test_a_mandatory_parameter_that_is_missing(caller, world):
    before = caller.listing()
    table = api.TABLE
    assert {name for name, action in table.items() if action.mandatory} <= set(WHOLE) | {"DescribeRequestGraph"}
    for action in WHOLE:
        whole = filled(action, world)
        for name in table[action].mandatory + NEEDED.get(action, []):
            for params in ({key: value for key, value in whole.items() if key != name}, {**whole, name: ""}):
                if (action, name) in MAY_BE_EMPTY:
                    continue
                reply = caller.attempt(action, **params)
                assert code_of(reply) == (400, f"Missing{name}"), (action, name, reply)
                assert reply[1]["Message"] == f"{name} is mandatory for this action."
    assert caller.listing() == before


def test_an_id_of_nothing(caller, world):
    before = caller.listing()
    for action in WHOLE:
        whole = filled(action, world)
        for name in sorted(set(whole) & set(UNKNOWN)):
            nothing, code = UNKNOWN[name]
            if action in ("TagResources", "UntagResources"):
                nothing = [nothing]
            if action == "AddResolverRule":
                continue
            assert code_of(caller.attempt(action, **{**whole, name: nothing})) == (400, code), (action, name)
    for odd in ("../../etc", "a b", "x" * 65, "'; --", "é"):
        assert code_of(caller.attempt("DescribeZoneInfo", ZoneId=odd)) == (400, "Zone.Invalid.Id")
    for odd in ("-1", "0", "1.5", "abc", "1" * 16, "9" * 30, "0x1"):
        assert code_of(caller.attempt("DeleteZoneRecord", RecordId=odd))[0] == 400
    assert caller.listing() == before


IMPOSSIBLE = [
    ("AddZone", "Zone.Invalid.Name", {"ZoneName": name})
    for name in ("a b.example", ".example", "a..example", "-a.example", "a-.example", "x" * 64 + ".example", "*.example",
                 ".", "a/b", "example." + "x." * 130, "\u0000.example", "ex ample")
] + [
    ("AddZone", "InvalidParameter", {"ProxyPattern": "MAYBE"}),
    ("AddZone", "InvalidParameter", {"DnsGroup": "SLOW_ZONE"}),
    ("AddZone", "InvalidParameter", {"ZoneType": "CLOUD_PRODUCT_ZONE"}),
    ("SetProxyPattern", "InvalidParameter", {"ProxyPattern": "zonerecord"}),
    ("UpdateZoneRemark", "Zone.Remark", {"Remark": "x" * 51}),
    ("UpdateZoneRemark", "Zone.Remark", {"Remark": "<script>"}),
    ("UpdateRecordRemark", "Zone.Remark", {"Remark": "a;b"}),
    ("AddZoneRecord", "Zone.Remark", {"Remark": "a;b"}),
    ("ChangeZoneDnsGroup", "InvalidParameter", {"DnsGroup": "x"}),
    *[("AddZoneRecord", "Record.Invalid.Rr", {"Rr": rr})
      for rr in ("a b", "a.", "a@", ".", "a*", "b.*", "x" * 64, "a..b", ".".join(["x" * 60] * 5))],
    *[("AddZoneRecord", "Record.Invalid.Type", {"Type": kind}) for kind in ("NS", "SOA", "CAA", "ANY", "TYPE1", "x")],
    *[("AddZoneRecord", "Record.Invalid.Value", {"Type": kind, "Value": value}) for kind, value in (
        ("A", "10.0.0"), ("A", "10.0.0.256"), ("A", "2001:db8::1"), ("A", "x.example"), ("AAAA", "10.0.0.1"),
        ("AAAA", "::g"), ("CNAME", "10.0.0.1"), ("CNAME", "a b"), ("CNAME", "x" * 64 + ".example"), ("TXT", "x" * 513),
        ("MX", "5 mail.example"), ("SRV", "1 2 3"), ("SRV", "1 2 65536 x.example"), ("SRV", "x.example"), ("PTR", "a..b"))],
    *[("AddZoneRecord", "Record.Invalid.TTL", {"Ttl": ttl}) for ttl in (4, 86401, -1, "1m", 2**32 + 60)],
    *[("AddZoneRecord", "Record.Invalid.Priority", {"Priority": priority}) for priority in (100, -1, "x")],
    *[("AddZoneRecord", "Record.Invalid.Weight", {"Weight": weight}) for weight in (0, 101, "x")],
    ("AddZoneRecord", "Record.Invalid.Line", {"Line": "aliyun_r_cn-beijing-a"}),
    ("UpdateZoneRecord", "Record.Invalid.Value", {"Value": "nonsense"}),
    ("UpdateZoneRecordWeight", "Record.Invalid.Weight", {"Weight": 101}),
    ("SetZoneRecordStatus", "InvalidParameter", {"Status": "ON"}),
    ("SetZoneLbaStatus", "InvalidParameter", {"Type": "TXT"}),
    ("SetZoneLbaStatus", "InvalidParameter", {"Open": "perhaps"}),
    ("SetZoneLbaStatus", "Record.NotExists", {"Rr": "nobody"}),
    ("BindZoneVpc", "ZoneVpc.NotExists.VpcId", {"Vpcs": [{"VpcId": "vpc-none"}]}),
    ("BindZoneVpc", "ZoneVpc.NotExists.VpcId", {"Vpcs": [{"VpcId": "vpc-two", "RegionId": "cn-beijing"}]}),
    ("BindZoneVpc", "InvalidParameter", {"Vpcs": [{"VpcId": "vpc-two", "VpcType": "ODD"}]}),
    ("BindZoneVpc", "MissingVpcId", {"Vpcs": [{"RegionId": "cn-shanghai"}]}),
    ("BindZoneVpc", "InvalidParameter", {"Vpcs": [{"VpcId": "vpc-two"}] * 151}),
    ("UpdateSyncEcsHostTask", "InvalidParameter", {"Status": "ENABLE"}),
    ("TagResources", "InvalidParameter", {"Tag": [{"Key": "k" * 129, "Value": "v"}]}),
    ("TagResources", "InvalidParameter", {"ResourceType": "RECORD"}),
    ("TagResources", "InvalidParameter", {"ResourceId": [NOTHING] * 51}),
    ("ListTagResources", "InvalidParameter", {"Size": 201}),
    ("ListTagResources", "InvalidParameter", {"NextToken": "x"}),
    ("DescribeTags", "InvalidParameter", {"PageSize": 201}),
    ("DescribeZoneRecords", "InvalidParameter", {"PageSize": 101}),
    ("DescribeZoneRecords", "InvalidParameter", {"PageNumber": "one"}),
    ("AddResolverEndpoint", "InvalidParameter", {"Name": "x" * 21}),
    ("UpdateResolverEndpoint", "InvalidParameter", {"IpConfig": [{"AzId": "a"}]}),
    ("AddResolverRule", "Zone.Invalid.Name", {"ZoneName": "a b"}),
    ("UpdateResolverRule", "InvalidParameter", {"ForwardIp": [{"Ip": "x", "Port": 53}]}),
    ("BindResolverRuleVpc", "ZoneVpc.NotExists.VpcId", {"Vpc": [{"VpcId": "vpc-none"}]}),
    ("AddUserVpcAuthorization", "InvalidParameter", {"AuthorizedUserId": "x"}),
    ("AddUserVpcAuthorization", "InvalidParameter", {"AuthType": "ALL"}),
    ("AddCustomLine", "InvalidParameter", {"Ipv4s": ["10.0.0.9-10.0.0.1"]}),
    ("AddCustomLine", "InvalidParameter", {"Ipv4s": ["2001:db8::1"]}),
    ("AddCustomLine", "CustomLine.RangeRepeated", {"Ipv4s": ["127.9.0.1", "127.9.0.0/24"]}),
    ("UpdateCustomLine", "InvalidParameter", {"Ipv4s": ["x"]}),
    ("DeleteUserVpcAuthorization", "ZoneVpc.Auth.NotExists", {}),
    ("DeleteZone", "Zone.VpcExists", {}),
]


def test_impossible_parameters(caller, world):
    before = caller.listing()
    wrong = []
    for action, code, params in IMPOSSIBLE:
        reply = caller.attempt(action, **{**filled(action, world), **params})
        if (reply[0], reply[1].get("Code")) != (400, code):
            wrong.append((action, params, code, reply))
    assert not wrong, "\n".join(map(str, wrong))
    assert caller.listing() == before
    assert caller.call("CheckZoneName", ZoneName="a b")["Check"] is False


def test_records_that_exist_or_collide(caller, world):
    before = caller.listing()
    zone = world["zone"]
    for rr, rtype, value in (
        ("own", "A", "10.0.0.1"), ("OWN", "a", "10.0.0.1"), ("own", "CNAME", "x.example"),
        ("alias", "A", "10.0.0.1"), ("alias", "TXT", "x"), ("alias", "CNAME", "X.example."),
    ):
        reply = caller.attempt("AddZoneRecord", ZoneId=zone, Rr=rr, Type=rtype, Value=value)
        assert code_of(reply) == (400, "Record.Invalid.Conflict"), (rr, rtype, value)
    reply = caller.attempt("UpdateZoneRecord", RecordId=world["record"], Rr="alias", Type="A", Value="10.0.0.1")
    assert code_of(reply) == (400, "Record.Invalid.Conflict")
    assert caller.listing() == before
    # what is disabled does not collide, but it cannot be enabled then
    caller.call("SetZoneRecordStatus", RecordId=world["alias"], Status="DISABLE")
    caller.record(zone, "alias", "A", "10.0.0.2")
    reply = caller.attempt("SetZoneRecordStatus", RecordId=world["alias"], Status="ENABLE")
    assert code_of(reply) == (400, "Record.Invalid.Conflict")


def test_bound_and_unbound_twice(caller, world):
    for _ in range(2):
        caller.bind(world["zone"], "vpc-one", "vpc-two")
    before = caller.listing()
    caller.bind(world["zone"], "vpc-one", "vpc-two")
    assert caller.listing() == before, "even its times"
    for _ in range(2):
        caller.bind(world["zone"])
    caller.call("DeleteZone", ZoneId=world["zone"])
    assert code_of(caller.attempt("DeleteZone", ZoneId=world["zone"])) == (400, "Zone.NotExists")
    assert code_of(caller.attempt("DeleteZoneRecord", RecordId=world["record"])) == (400, "Record.NotExists"), "it went with its zone"


# --- the transport --------------------------------------------------------------------------------------------


def test_a_body_beyond_16_mib_is_refused_and_read(caller):
    for way in ("v1", "acs3"):
        body = b"ZoneName=big.example&Remark=" + b"x" * (17 << 20)
        if way == "v1":
            request = ("POST", "/?" + "Action=AddZone", {"host": caller.host, "content-type": FORM}, body)
        else:
            request = ("POST", *api.acs3(caller, "AddZone", {}, body=body, kind=FORM))
        assert code_of(caller.send(*request)) == (413, "RequestEntityTooLarge"), way
    assert caller.call("DescribeZones")["TotalItems"] == 0


def test_a_head_of_1_mib_is_refused(caller):
    target, headers, _ = api.acs3(caller, "DescribeZones", {"Keyword": "x" * (1 << 20)})
    with caller_socket(caller) as sock:
        try:
            sock.sendall(f"POST {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        except OSError:
            pass
        answer = sock.recv(100)
    assert answer == b"" or b" 431 " in answer or b" 414 " in answer, answer
    assert caller.call("DescribeZones")["TotalItems"] == 0


@pytest.mark.parametrize("place", ["query", "body"])
def test_octets_that_are_no_utf_8(caller, place):
    method, target, headers, body = api.v1(caller, "AddZone", {"ZoneName": "PLACE"}, "POST", place)
    target, body = target.replace("PLACE", "%FF%FE"), body.replace(b"PLACE", b"%FF%FE")
    status, reply = caller.send(method, target, headers, body)
    assert code_of((status, reply)) == (400, "InvalidParameter") and "UTF-8" in reply["Message"]


def test_odd_bodies_and_heads(caller):
    for packet in (
        b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b"GET /?\xff\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x00" * 4096, b"GET /?" + b"&" * 60000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    ):
        with caller_socket(caller) as sock:
            sock.sendall(packet)
            sock.shutdown(socket.SHUT_WR)
            answer = sock.recv(65536)
            assert b" 200 " not in answer.split(b"\r\n", 1)[0], (packet[:40], answer)
    assert caller.call("DescribeZones")["TotalItems"] == 0


def caller_socket(caller):
    sock = socket.create_connection(caller.address, timeout=20)
    return sock


def test_a_slow_sender_is_cut_off_and_holds_up_nothing(caller):
    target, headers, _ = api.acs3(caller, "AddZone", {"ZoneName": "slow.example"})
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with caller_socket(caller) as sock:
        sock.sendall(f"POST {target} HTTP/1.1\r\n{head}content-length: 100\r\n\r\nx".encode())
        begun = time.monotonic()
        assert caller.call("DescribeZones")["TotalItems"] == 0
        assert time.monotonic() - begun < 5
        answer = sock.recv(65536)
        assert time.monotonic() - begun < 15
    assert answer.startswith(b"HTTP/1.1 408 ") and b"RequestTimeout" in answer
    assert caller.call("DescribeZones")["TotalItems"] == 0


def test_a_thousand_idle_connections_keep_no_client_out(server, caller):
    idle = [socket.create_connection(caller.address, timeout=20) for _ in range(1000)]
    try:
        zone = caller.zone("through.example", vpcs=["vpc-one"], records=[("@", "A", "10.0.0.1")])
        assert server.ask("through.example").values == ["10.0.0.1"]
        assert caller.call("DescribeZoneInfo", ZoneId=zone)["RecordCount"] == 1
        assert server.file_descriptors() < 500
    finally:
        for sock in idle:
            sock.close()


# --- many at once ---------------------------------------------------------------------------------------------


def at_once(*works):
    """Runs functions at the same time; what they raised is raised."""
    faults = []

    def run(work):
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            faults.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def test_writers_at_once_lose_nothing(server, caller):
    zone = caller.zone("busy.example", vpcs=["vpc-one"])
    made = [[] for _ in range(8)]

    def write(worker):
        own = api.Api(caller.address)
        link = own.connect()
        for number in range(40):
            rr, value = f"w{worker}-{number}", f"10.{worker}.0.{number}"
            reply = own.call("AddZoneRecord", connection=link, ZoneId=zone, Rr=rr, Type="A", Value=value)
            made[worker].append(reply["RecordId"])
            assert server.ask(f"{rr}.busy.example").values == [value], "in force with the answer"
        link.close()

    at_once(*[lambda worker=worker: write(worker) for worker in range(8)])
    ids = [record for each in made for record in each]
    shown = caller.pages("DescribeZoneRecords", "Records", "Record", ZoneId=zone)
    assert sorted(one["RecordId"] for one in shown) == sorted(ids) and len(set(ids)) == 320
    assert caller.call("DescribeZoneInfo", ZoneId=zone)["RecordCount"] == 320
    log = caller.pages("DescribeChangeLogs", "ChangeLogs", "ChangeLog", EntityType="PV_RECORD")
    assert len(log) == 320 and len({row["Id"] for row in log}) == 320


def test_of_two_who_want_the_same_one_gets_it(caller):
    zone = caller.zone("race.example")
    for number in range(20):
        outcomes = []

        def add(number=number, outcomes=outcomes):
            reply = api.Api(caller.address).attempt("AddZoneRecord", ZoneId=zone, Rr=f"r{number}", Type="A", Value="10.0.0.1")
            outcomes.append(reply[1].get("Code", "made"))

        at_once(add, add, add)
        assert sorted(outcomes) == ["Record.Invalid.Conflict", "Record.Invalid.Conflict", "made"]
    one, two = caller.zone("same.example"), caller.zone("same.example")
    outcomes = []

    def bind(zone):
        reply = api.Api(caller.address).attempt("BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": "vpc-one"}])
        outcomes.append(reply[1].get("Code", "bound"))

    at_once(lambda: bind(one), lambda: bind(two))
    assert sorted(outcomes) == ["ZoneVpc.Zone.Repeated", "bound"]


def test_one_token_at_the_same_time_makes_one_zone(caller):
    for number in range(10):
        ids = []

        def add(number=number, ids=ids):
            reply = api.Api(caller.address).call("AddZone", ZoneName="token.example", ClientToken=f"t{number}")
            ids.append(reply["ZoneId"])

        at_once(add, add, add, add)
        assert len(set(ids)) == 1, "a client that sends again while the first is under way"
    assert caller.call("DescribeZones")["TotalItems"] == 10
