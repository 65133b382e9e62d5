"""What hostile clients of HTTP can make pvtzd hold: the API before a signature, metrics, the logs of queries.

Memory is looked at while an attack lasts and after it; the limit is that of docs/reliability.md.
"""

import http.client
import os
import socket
from pathlib import Path

import pytest
from harness import api
from harness.private import ZONE
from harness.wait import until

MIB = 1 << 20
PROMISE = 64 * MIB
FORM = "application/x-www-form-urlencoded"


def resident(server):
    """Octets of memory."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connect(address):
    """A connection that takes next to nothing into its own buffer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.settimeout(20)
    client.connect(address)
    return client


def post(client, body, query="", **headers):
    """Sends a request; what the peer no longer takes is left out."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"POST /{query} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {FORM}\r\n{lines}content-length: {len(body)}\r\n\r\n"
    try:
        client.sendall(head.encode() + body)
    except (ConnectionResetError, BrokenPipeError, TimeoutError):
        pass


def refusal(client):
    """Status and octets of the answer."""
    answer = http.client.HTTPResponse(client)
    answer.begin()
    return answer.status, len(answer.read())


@pytest.fixture
def served(start):
    """A server with the API; its memory is below the promise at the end, and it still answers."""
    server = start(ZONE + api.control())
    yield server
    assert server.ask("www.p.example").values, "DNS is answered"
    assert resident(server) < PROMISE
    api.Api(server).call("DescribeZones")


def test_a_form_of_millions_of_pairs_is_refused_unread(served):
    body = b"a=1&b" * (16 * MIB // 5)
    for _ in range(3):
        client = connect(api.address_of(served))
        post(client, body)
        status, length = refusal(client)
        assert status == 413 and length < 1024
        assert resident(served) < PROMISE


def test_refusals_that_are_not_read_are_short(served):
    clients = []
    for number in range(60):
        caller = api.Api(served, secret="wrong")
        method, target, headers, body = api.v1(caller, "AddZone", {"ZoneName": "x" * 200_000}, "POST", "body")
        client = connect(api.address_of(served))
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "host": "127.0.0.1"}.items())
        client.sendall(f"{method} {target} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
        clients.append(client)
        assert resident(served) < PROMISE, number
    answered = [refusal(client) for client in clients[-5:]]
    assert all(status == 400 and length < 8192 for status, length in answered), answered


def test_bodies_that_do_not_come_to_their_end_keep_no_client_out(served):
    clients = [connect(api.address_of(served)) for _ in range(100)]
    for client in clients:
        head = f"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {FORM}\r\ncontent-length: 262144\r\n\r\n"
        client.setblocking(False)
        client.send(head.encode() + b"a" * 200_000)
    for _ in range(20):
        api.Api(served).call("DescribeZones")
        assert resident(served) < PROMISE


def test_a_body_of_single_octets_costs_its_octets(served):
    client = connect(api.address_of(served))
    head = f"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {FORM}\r\ntransfer-encoding: chunked\r\n\r\n"
    client.sendall(head.encode() + b"1\r\na\r\n" * 250_000 + b"0\r\n\r\n")
    assert refusal(client)[0] == 400
    assert resident(served) < PROMISE


def sent(server, document, **more):
    """Status and answer of an import."""
    caller = api.Api(server, patience=120)
    return caller.send("POST", *api.acs3(caller, "PvtzdImport", more, body=document, kind="application/json"))


def peak(server):
    """The most octets of memory that there have been."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@pytest.mark.parametrize("head, item, tail", [
    (b'{"Zones":[', b"{}", b"]}"),
    (b'{"Zones":[{"ZoneName":"a.example","Records":[', b"{}", b"]}]}"),
    (b'{"Rules":[', b"{}", b"]}"),
    (b'{"CustomLines":[{"Ipv4s":[', b'""', b"]}]}"),
])
def test_a_document_of_millions_of_small_items_is_refused_unread(start, head, item, tail):
    server = start(ZONE + api.control())
    items = (16 * MIB - 100) // (len(item) + 1)
    for _ in range(3):
        status, reply = sent(server, head + b",".join([item] * items) + tail)
        assert status == 400 and "more than 400000 items" in reply["Message"], reply
    assert peak(server) < 2 * PROMISE  # the document, and what was read of it
    assert server.ask("www.p.example").values


@pytest.mark.parametrize("head, item, tail", [
    (b'{"Zones":[', b"{}", b"]}"),
    (b'{"Zones":[{"ZoneName":"a.example","Records":[', b"{}", b"]}]}"),
])
def test_all_faults_of_a_document_of_many_small_items_take_bounded_memory(start, head, item, tail):
    server = start(ZONE + api.control())
    status, reply = sent(server, head + b",".join([item] * 399_000) + tail)
    assert status == 400 and reply["Code"] == "Document.Invalid" and "and 398800 more" in reply["Message"], reply["Message"][-200:]
    assert peak(server) < 400 * MIB
    assert server.ask("www.p.example").values


def test_pages_of_other_sites_are_refused_everywhere(start):
    server = start(ZONE + api.control() + '[ops]\nlisten = "127.0.0.1:0"\nserver_names = ["metrics.corp.example"]\n')
    host, port = server.logged(r"metrics and health are served.*listen=([0-9.]+):(\d+)").groups()
    metrics = (host, int(port))
    for address, path in [(api.address_of(server), "/"), (metrics, "/metrics"), (metrics, "/health"), (metrics, "/ready"), (metrics, "/")]:
        for headers in [
            {"Host": "evil.example"},
            {"Host": f"evil.example:{address[1]}"},
            {"Host": "127.0.0.1.evil.example"},
            {"Host": "localhost", "Origin": "http://evil.example"},
            {"Host": "localhost", "Origin": "null"},
            {"Host": "localhost", "Sec-Fetch-Site": "cross-site"},
            {"Host": "localhost", "Sec-Fetch-Site": "same-site"},
        ]:
            client = http.client.HTTPConnection(*address, timeout=20)
            client.request("GET", path, headers=headers)
            answer = client.getresponse()
            assert answer.status == 403, (path, headers)
            assert len(answer.read()) < 1024
    for name in ["metrics.corp.example", "METRICS.corp.example:9153", "localhost", "[::1]:9153", "127.0.0.1"]:
        client = http.client.HTTPConnection(*metrics, timeout=20)
        client.request("GET", "/metrics", headers={"Host": name})
        assert client.getresponse().status == 200, name
