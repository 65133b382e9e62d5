"""The PrivateZone API of a pvtzd under test: how it is configured and called.

The signer here was written from the description of the two ways of signing, apart from pvtzd's own.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import re
import uuid
from urllib.parse import quote, urlencode

from .shapes import actions, faults

KEY, SECRET = "LTAI-test", "secret-of-the-test"
VERSION = "2018-01-01"
TABLE = actions()


def control(more=""):
    """A configuration with the API on a free port. `more` goes below `[control]`."""
    return f"""
[endpoints]
products = []
[control]
listen = "127.0.0.1:0"
[[control.access_key]]
id = "{KEY}"
secret = "{SECRET}"
{more}
"""


# Clients of 127.0.0.0/9 are in the one VPC, those of 127.128.0.0/9 in the other.
TWO_VPCS = """
[[vpc]]
id = "vpc-one"
region = "cn-hangzhou"
clients = ["127.0.0.0/9"]
[[vpc]]
id = "vpc-two"
region = "cn-shanghai"
clients = ["127.128.0.0/9"]
"""
ONE, TWO = "127.0.0.1", "127.128.0.1"


def address_of(server):
    """Where a pvtzd serves the API."""
    told = server.logged(r"listen=\[([0-9.]+):(\d+)[^\]]*\].*the PrivateZone API is ready|"
                         r"the PrivateZone API is ready.*listen=\[([0-9.]+):(\d+)")
    host, port = [part for part in told.groups() if part]
    return host, int(port)


class Refused(Exception):
    """An error of the API. `reply` is the whole of it."""

    def __init__(self, status, reply):
        self.status, self.reply = status, reply
        self.code, self.message = reply.get("Code"), reply.get("Message")
        super().__init__(f"{status} {self.code}: {self.message}")


class Api:
    """A caller. `call("AddZone", ZoneName="a.example")`; lists and objects are flattened."""

    def __init__(self, address, key=KEY, secret=SECRET, patience=20):
        self.address = getattr(address, "where", None) and address_of(address) or address
        self.key, self.secret, self.patience = key, secret, patience

    @property
    def host(self):
        return "{}:{}".format(*self.address)

    def call(self, action, /, *, connection=None, **params):
        """The fields of the answer; [`Refused`] otherwise. Signed by ACS3, everything in the query of a POST."""
        status, reply = self.attempt(action, connection=connection, **params)
        if status != 200:
            raise Refused(status, reply)
        check(action, reply)
        return reply

    def attempt(self, action, /, *, connection=None, **params):
        """Status and fields of whatever comes."""
        target, headers, body = acs3(self, action, flattened(params))
        return self.send("POST", target, headers, body, connection)

    def send(self, method, target, headers, body=b"", connection=None):
        """Sends a request that is signed already."""
        status, _, text = self.exchange(method, target, headers, body, connection)
        return status, json.loads(text)

    def exchange(self, method, target, headers, body=b"", connection=None):
        """The same; status, headers and octets."""
        link = connection or self.connect()
        try:
            link.putrequest(method, target, skip_host="host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                link.putheader(name, value)
            if body or method == "POST":
                link.putheader("content-length", str(len(body)))
            link.endheaders(body or None)
            response = link.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            if connection is None:
                link.close()

    def connect(self):
        return http.client.HTTPConnection(*self.address, timeout=self.patience)

    def v1(self, action, /, *, method="GET", place="query", **params):
        """The fields of the answer to a request signed by HMAC-SHA1. `place`: `query`, `body`, or `mixed` with the
        common parameters in the query and the action's own in the body, as Terraform sends them."""
        status, reply = self.send(*v1(self, action, flattened(params), method, place))
        if status != 200:
            raise Refused(status, reply)
        check(action, reply)
        return reply

    # What tests need again and again.

    def zone(self, name, *, proxy=False, vpcs=(), records=()):
        """A zone with records `(Rr, Type, Value)`, bound; its id."""
        pattern = "RECORD" if proxy else "ZONE"
        zone = self.call("AddZone", ZoneName=name, ProxyPattern=pattern)["ZoneId"]
        for rr, rtype, value in records:
            self.record(zone, rr, rtype, value)
        if vpcs:
            self.bind(zone, *vpcs)
        return zone

    def record(self, zone, rr, rtype, value, **more):
        return self.call("AddZoneRecord", ZoneId=zone, Rr=rr, Type=rtype, Value=value, **more)["RecordId"]

    def bind(self, zone, *vpcs):
        self.call("BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": vpc} for vpc in vpcs])

    def listing(self):
        """Everything there is, but for the log of changes."""
        found = {}
        for zone in self.pages("DescribeZones", "Zones", "Zone"):
            id = zone["ZoneId"]
            found[id] = (
                self.call("DescribeZoneInfo", ZoneId=id) | {"RequestId": ""},
                self.pages("DescribeZoneRecords", "Records", "Record", ZoneId=id),
                zone,
            )
        found["rules"] = self.pages("DescribeResolverRules", "Rules")
        found["endpoints"] = self.pages("DescribeResolverEndpoints", "Endpoints")
        found["lines"] = self.pages("DescribeCustomLines", "CustomLines", "CustomLine")
        found["users"] = self.pages("DescribeUserVpcAuthorizations", "Users")
        return found

    def pages(self, action, *path, size=100, **params):
        """All items of a list, page by page."""
        items, number = [], 1
        while True:
            reply = self.call(action, PageNumber=number, PageSize=size, **params)
            page = reply
            for name in path:
                page = page[name]
            items += page
            if len(page) < size:
                assert len(items) == reply["TotalItems"], (action, reply)
                return items
            number += 1


def check(action, reply):
    """An answer has the fields of the table, in their types, and no others."""
    assert "Code" not in reply, reply
    shape = {"RequestId": str, **TABLE[action].response}
    wrong = [line for line in faults(shape, reply) if not line.endswith((".NextToken: absent", ".Priority: absent"))]
    assert not wrong, (action, wrong)


def flattened(value, prefix=""):
    """Lists and objects as the API takes them: `Vpcs.1.VpcId`."""
    if isinstance(value, dict):
        inner = ((f"{prefix}.{name}" if prefix else name, item) for name, item in value.items())
    elif isinstance(value, (list, tuple)):
        inner = ((f"{prefix}.{at}", item) for at, item in enumerate(value, 1))
    else:
        return {prefix: str(value).lower() if isinstance(value, bool) else str(value)}
    return {name: text for key, item in inner for name, text in flattened(item, key).items()}


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def percent(text):
    return quote(text, safe="-_.~")


def canonical(params):
    return "&".join(f"{percent(name)}={percent(value)}" for name, value in sorted(params.items()))


def acs3(caller, action, params, *, date=None, nonce=None, body=b"", digest=None, drop=(), kind=None):
    """Target, headers and body of a request signed by ACS3-HMAC-SHA256."""
    headers = {
        "host": caller.host,
        "x-acs-action": action,
        "x-acs-version": VERSION,
        "x-acs-date": date or now(),
        "x-acs-signature-nonce": nonce or uuid.uuid4().hex,
        "x-acs-content-sha256": digest or hashlib.sha256(body).hexdigest(),
    }
    if kind:
        headers["content-type"] = kind
    headers = {name: value for name, value in headers.items() if name not in drop}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"POST\n/\n{canonical(params)}\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(caller.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={caller.key},SignedHeaders={names},Signature={signature}"
    )
    return f"/?{canonical(params)}", headers, body


def common(caller, action, **changes):
    """The parameters that a v1 request has beside the action's own."""
    params = {
        "Action": action,
        "Version": VERSION,
        "Format": "json",
        "AccessKeyId": caller.key,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": uuid.uuid4().hex,
        "Timestamp": now(),
    }
    params.update(changes)
    return {name: value for name, value in params.items() if value is not None}


def signed(caller, method, params):
    """The signature of v1 over all parameters."""
    text = f"{method}&%2F&{percent(canonical(params))}"
    key = f"{caller.secret}&".encode()
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha1).digest()).decode()


def v1(caller, action, params, method="GET", place="query", **changes):
    """Method, target, headers and body of a request signed by HMAC-SHA1."""
    extra = common(caller, action, **changes)
    signature = {"Signature": signed(caller, method, {**extra, **params})}
    headers = {"host": caller.host}
    if place == "query":
        return method, "/?" + urlencode({**extra, **params, **signature}), headers, b""
    headers["content-type"] = "application/x-www-form-urlencoded"
    if place == "body":
        return method, "/", headers, urlencode({**extra, **params, **signature}).encode()
    return method, "/?" + urlencode({**extra, **signature}), headers, urlencode(params).encode()


def minutes(text):
    """True for a time as the API writes it: UTC, in minutes."""
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", text) is not None
