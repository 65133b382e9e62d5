"""What operators of a large fleet see, what a stolen sidecar can write there, and the last zone that goes."""

import json

import pytest
from harness import api
from harness.etcd import PREFIX, binary
from harness.wait import until
from test_fleet import answers, etcd, node, run, status, values  # noqa: F401

pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")


def entry(state="following", revision=1, **more):
    return json.dumps({"version": "9", "revision": revision, "state": state, "writer": False, "schema": 1, "bad_rows": 0,
                       "listen": ["10.0.0.1:53"], "at": 0, **more})


def put_many(cluster, pairs):
    """Puts keys, 100 in a transaction."""
    for begin in range(0, len(pairs), 100):
        puts = "".join(f"put {key} {json.dumps(value)}\n" for key, value in pairs[begin:begin + 100])
        cluster.ctl("txn", "--interactive=false", stdin=f"\n{puts}\n\n")


def test_the_status_of_a_thousand_nodes(etcd, node):  # noqa: F811
    cluster = etcd(members=1)
    writer = node(cluster, "w", writes=True)
    api.Api(writer).zone("a.example", vpcs=["vpc-one"])
    put_many(cluster, [(f"{PREFIX}node/n{number:04}", entry("away" if number % 100 == 7 else "following")) for number in range(1000)])
    shown = run(writer, "fleet", "status", check=False).stdout
    lines = shown.split("\n")
    assert len(lines) < 240, len(lines)
    listed = [line for line in lines if line.startswith("n")]
    assert sum(" away " in line for line in listed) == 10, "those that are not well are among them"
    assert "more; --json prints all" in shown
    report = json.loads(run(writer, "fleet", "status", "--json", check=False).stdout)
    assert len([found for found in report["nodes"] if found["node"].startswith("n")]) == 1000


def test_what_a_stolen_sidecar_writes_of_itself(etcd, node):  # noqa: F811
    """Its role writes presence: names that act on a terminal, entries that are none, that are long, and many."""
    cluster = etcd(members=1)
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    for name in ("\x1b[2J", "\u202eevil", "two\nlines", "tab\t"):
        cluster.ctl("put", f"{PREFIX}node/{name}", entry("\x1b]0;title\x07", version="\u202e\x9b31m", listen=["\x1b[1m"]))
    cluster.ctl("put", f"{PREFIX}node/none", "{")
    cluster.ctl("put", f"{PREFIX}node/odd", entry(revision=-1, at=2**64 - 1))
    cluster.ctl("put", f"{PREFIX}node/long", stdin=entry(version="x" * 1_000_000))
    done = run(writer, "fleet", "status", check=False)
    for text in (done.stdout + done.stderr, run(writer, "fleet", "status", "--json", check=False).stdout):
        assert not [char for char in text if (char < " " and char != "\n") or char in "\u202e\x9b"], repr(text)
        assert len(text) < 100_000
    assert any(line.startswith("odd ") for line in done.stdout.split("\n"))
    put_many(cluster, [(f"{PREFIX}node/x{number:06}", entry()) for number in range(5000)])
    done = run(writer, "fleet", "status", check=False)
    assert len(done.stdout.split("\n")) < 240 and "nodes: 50" in done.stdout
    # Changes and answers go on.
    api.Api(writer).record(zone, "more", "A", "10.0.0.2")
    answers(sidecar, "more.a.example", ["10.0.0.2"])


def test_the_last_zone_goes_too(etcd, node):  # noqa: F811
    """An empty state is a state: it is not taken for a fault and passed over."""
    cluster = etcd(members=1)
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    caller = api.Api(writer)
    zone = caller.zone("a.example", records=[("www", "A", "10.0.0.1")], vpcs=["vpc-one"])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    caller.bind(zone)
    caller.call("DeleteZone", ZoneId=zone)
    until(lambda: values(sidecar, "www.a.example") != ["10.0.0.1"], "it is gone", 30)
    report = status(sidecar)["fleet"]
    assert (report["state"], report["whole"], report["rows"]) == ("following", True, len(cluster.keys()))
    sidecar.stop()
    sidecar = node(cluster, "s")
    assert values(sidecar, "www.a.example") != ["10.0.0.1"], "nor is it in the snapshot"
    assert status(sidecar)["ready"]
