"""What a client does at several API nodes: it reads at one what it wrote at another, and repeats at one what it sent to another."""

import json
import threading

import pytest
from harness import api
from harness.etcd import PREFIX, binary
from harness.wait import until
from test_fleet import answers, etcd, node, status, values  # noqa: F401

pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")


def exchange(caller, action, **params):
    """Status, revision and fields of an answer."""
    target, headers, body = api.acs3(caller, action, api.flattened(params))
    code, told, text = caller.exchange("POST", target, headers, body)
    told = {name.lower(): value for name, value in told.items()}
    return code, int(told.get("x-pvtzd-revision", -1)), json.loads(text)


def names(caller):
    return sorted(zone["ZoneName"] for zone in caller.pages("DescribeZones", "Zones", "Zone"))


def test_what_was_written_at_one_node_is_read_at_another(etcd, node):  # noqa: F811
    cluster = etcd()
    callers = [api.Api(node(cluster, f"w{number}", writes=True), patience=40) for number in range(3)]
    seen = 0
    for number in range(12):
        here, there = callers[number % 3], callers[(number + 1) % 3]
        code, revision, reply = exchange(here, "AddZone", ZoneName=f"z{number}.example")
        assert code == 200 and revision > seen, "each change has a revision of its own"
        seen = revision
        code, found, listed = exchange(there, "DescribeZoneInfo", ZoneId=reply["ZoneId"], PvtzdMinRevision=revision)
        assert (code, listed.get("ZoneName")) == (200, f"z{number}.example") and found >= revision
    # What is refused has it too, and a change takes the parameter as well.
    code, revision, _ = exchange(callers[0], "AddZone", ZoneName="-", PvtzdMinRevision=seen)
    assert (code, revision) == (400, seen)
    for wrong in ("-1", "x", "1.5", str(2**64), "9" * 40):
        code, revision, reply = exchange(callers[0], "DescribeZones", PvtzdMinRevision=wrong)
        assert (code, reply["Code"]) == (400, "InvalidParameter") and "PvtzdMinRevision" in reply["Message"], wrong
    assert exchange(callers[0], "DescribeZones", PvtzdMinRevision="0")[0] == 200
    assert exchange(callers[0], "DescribeZones", PvtzdMinRevision="")[0] == 200, "none, as for every parameter"
    code, revision, reply = exchange(callers[0], "DescribeZones", PvtzdMinRevision=str(2**63 - 1))
    assert (code, reply["Code"], revision) == (503, "ServiceUnavailable", seen)
    assert f"revision {seen}" in reply["Message"], "it says what it has"
    # A read that waits ends as soon as the revision is there, without etcd being asked.
    cluster.stop()
    assert exchange(callers[2], "DescribeZones", PvtzdMinRevision=seen)[0] == 200


def test_a_node_without_a_fleet_has_no_revisions(start):
    caller = api.Api(start(api.control() + api.TWO_VPCS))
    code, revision, _ = exchange(caller, "DescribeZones")
    assert (code, revision) == (200, -1), "no header"
    code, _, reply = exchange(caller, "DescribeZones", PvtzdMinRevision=1)
    assert (code, reply["Code"]) == (400, "InvalidParameter") and "[fleet]" in reply["Message"]


def test_a_token_makes_its_change_once_at_whichever_node(etcd, node):  # noqa: F811
    cluster = etcd()
    nodes = [node(cluster, f"w{number}", writes=True) for number in range(3)]
    callers = [api.Api(server, patience=40) for server in nodes]
    first = callers[0].call("AddZone", ZoneName="a.example", ClientToken="t-1")
    for caller in callers:
        again = caller.call("AddZone", ZoneName="a.example", ClientToken="t-1")
        assert again["ZoneId"] == first["ZoneId"]
    zone = first["ZoneId"]
    record = callers[1].call("AddZoneRecord", ZoneId=zone, Rr="www", Type="A", Value="10.0.0.1", ClientToken="t-1")
    # Of another action: another token. A deletion that is repeated does not delete what was made since.
    callers[2].call("DeleteZoneRecord", RecordId=record["RecordId"], ClientToken="t-2")
    again = callers[0].call("AddZoneRecord", ZoneId=zone, Rr="www", Type="A", Value="10.0.0.1", ClientToken="t-1")
    assert again["RecordId"] == record["RecordId"]
    assert callers[0].pages("DescribeZoneRecords", "Records", "Record", ZoneId=zone) == [], "not made again"
    # What was refused is not kept: it is made once it can be.
    one = {"ZoneId": zone, "Rr": "one", "Type": "A", "Value": "10.0.0.1"}
    other = callers[0].call("AddZoneRecord", **one)
    assert callers[2].attempt("AddZoneRecord", **one, ClientToken="t-3")[0] == 400
    callers[0].call("DeleteZoneRecord", RecordId=other["RecordId"])
    made = callers[1].call("AddZoneRecord", **one, ClientToken="t-3")["RecordId"]
    # After a restart too.
    assert nodes[1].stop() == 0
    again = api.Api(node(cluster, "w1", writes=True), patience=40)
    assert again.call("AddZoneRecord", **one, ClientToken="t-3")["RecordId"] == made
    assert names(again) == ["a.example"]
    # Each has a lease, of about a day.
    keys = cluster.keys("token/")
    assert len(keys) == 4, keys
    for key in keys:
        lease = json.loads(cluster.ctl("get", key, "-w", "json").stdout)["kvs"][0]["lease"]
        told = json.loads(cluster.ctl("lease", "timetolive", f"{lease:x}", "-w", "json").stdout)
        assert 24 * 3600 - 600 < told["ttl"] <= 25 * 3600
    # What this version cannot read still says that the change was made.
    for key in keys:
        cluster.ctl("put", key, "{")
    fresh = api.Api(node(cluster, "w9", writes=True), patience=40)
    code, reply = fresh.attempt("AddZoneRecord", **one, ClientToken="t-3")
    assert (code, reply["Code"]) == (409, "ClientToken.AnswerNotKept"), reply


def test_a_token_sent_to_all_nodes_at_once_makes_one(etcd, node):  # noqa: F811
    """The race that a client with a short patience makes: the others are first, or not, and all say the same."""
    cluster = etcd()
    callers = [api.Api(node(cluster, f"w{number}", writes=True), patience=60) for number in range(3)]
    zone = callers[0].call("AddZone", ZoneName="race.example")["ZoneId"]
    rounds = 25
    made = [[] for _ in callers]
    barrier = threading.Barrier(len(callers))

    def race(place):
        for number in range(rounds):
            barrier.wait(120)
            made[place].append(callers[place].attempt(
                "AddZoneRecord", ZoneId=zone, Rr="same", Type="A", Value=f"10.0.{number}.1", ClientToken=f"r{number}"))

    threads = [threading.Thread(target=race, args=[place]) for place in range(len(callers))]
    [thread.start() for thread in threads]
    [thread.join(240) for thread in threads]
    ids = []
    for answers_of_round in zip(*made):
        assert {code for code, _ in answers_of_round} == {200}, answers_of_round
        found = {reply["RecordId"] for _, reply in answers_of_round}
        assert len(found) == 1, answers_of_round
        ids += found
    listed = callers[1].pages("DescribeZoneRecords", "Records", "Record", ZoneId=zone)
    assert sorted(record["RecordId"] for record in listed) == sorted(ids) and len(set(ids)) == rounds
    head, _ = cluster.head()
    assert head["rows"] == len(cluster.keys())


def test_a_token_outlives_the_node_that_died_with_its_answer(etcd, node):  # noqa: F811
    """The client's case: no answer came, so it asks another node. Made or not, it is there once."""
    cluster = etcd()
    other = api.Api(node(cluster, "o", writes=True), patience=60)
    for number in range(6):
        server = node(cluster, f"k{number}", writes=True)
        caller = api.Api(server, patience=20)
        sent = threading.Thread(target=lambda: _quiet(caller, number), daemon=True)
        sent.start()
        if number % 2:
            until(lambda: not sent.is_alive() or cluster.head()[0], "it is under way")
        server.kill()
        sent.join(30)
        reply = other.call("AddZone", ZoneName=f"k{number}.example", ClientToken=f"k-{number}")
        assert names(other).count(f"k{number}.example") == 1
        assert reply["ZoneId"] == other.call("AddZone", ZoneName=f"k{number}.example", ClientToken=f"k-{number}")["ZoneId"]


def _quiet(caller, number):
    try:
        caller.attempt("AddZone", ZoneName=f"k{number}.example", ClientToken=f"k-{number}")
    except OSError:
        pass  # the node was killed
    except Exception as error:  # noqa: BLE001
        assert "RemoteDisconnected" in repr(error) or "IncompleteRead" in repr(error), error


def test_a_large_change_has_a_token_too(etcd, node):  # noqa: F811
    cluster = etcd(members=1)
    one, two = (api.Api(node(cluster, name, writes=True), patience=90) for name in "ab")
    records = [{"Rr": f"r{n}", "Type": "A", "Value": "10.0.0.1", "Ttl": 60} for n in range(200)]
    document = json.dumps({"Zones": [{"ZoneName": "big.example", "Records": records}]})
    first = one.attempt("PvtzdImport", Document=document, ClientToken="import")
    assert first[0] == 200, first
    head, revision = cluster.head()
    again = two.attempt("PvtzdImport", Document=document, ClientToken="import")
    assert cluster.head() == (head, revision), "nothing was made"
    assert again[0] in (200, 409), again
    if again[0] == 200:
        assert again[1]["Added"] == first[1]["Added"]
    assert cluster.get("token/")[0] is None and len(cluster.keys("token/")) == 1
    assert PREFIX + "token/" in cluster.keys("token/")[0]
