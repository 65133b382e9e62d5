"""What stands between a node and etcd loses, doubles and forges: answers go on, and the rows are right in the end."""

import asyncio
import re
import struct
from pathlib import Path

import pytest
from harness import api, http2
from harness.etcd import binary
from harness.wait import until
from test_fleet import answers, etcd, node, status, values  # noqa: F401
from test_fleet_days import Load, add

proxies = pytest.importorskip("harness.etcd_proxy", reason="no h2 in the Python of the tests")
pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")

MANY = 1_000_000
MIB = 1 << 20


class Through:
    """A cluster whose members are reached through proxies."""

    def __init__(self, *between):
        self.between = between

    def section(self, name, more=""):
        endpoints = ", ".join(f'"{proxy.url}"' for proxy in self.between)
        return f'[fleet]\nendpoints = [{endpoints}]\nnode = "{name}"\n{more}\n'


@pytest.fixture
def proxy():
    made = []

    def make(member, rule=None):
        made.append(proxies.EtcdProxy(member.client, rule))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def fleet(etcd, node, proxy):  # noqa: F811
    """A member, an API node, and a sidecar that reaches the member through a proxy alone."""
    cluster = etcd(members=1)
    between = proxy(cluster.members[0])
    writer, sidecar = node(cluster, "w", writes=True), node(Through(between), "s")
    zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    until(between.watches, "it watches")
    return cluster, between, writer, sidecar, zone


def seen(sidecar):
    return status(sidecar)["fleet"]


def whole(cluster, sidecar, patience=60):
    """The sidecar has the rows of the head."""
    revision = cluster.head()[1]
    until(lambda: (seen(sidecar)["revision"], seen(sidecar)["whole"]) == (revision, True), "the rows are those of the head", patience)


class Events(proxies.Rule):
    """Does something with each answer of a watch that has events. `each(stream, message)` gives what is sent on."""

    def __init__(self, each):
        self.each, self.count = each, 0

    def answer(self, stream, message):
        if stream.path != proxies.WATCH or not proxies.events_of(message):
            return [message]
        self.count += 1
        return self.each(stream, message)


def test_events_that_are_lost_show_in_the_next_change(fleet):
    cluster, between, writer, sidecar, zone = fleet
    before = seen(sidecar)["compared"]
    between.rule = Events(lambda stream, message: [])
    for number in range(5):
        add(writer, zone, f"lost{number}")
    until(lambda: between.rule.count >= 5, "all are lost")
    assert values(sidecar, "lost4.a.example") == []
    between.rule = proxies.Rule()
    add(writer, zone, "next")
    for name in ("lost0", "lost4", "next"):
        answers(sidecar, f"{name}.a.example", ["10.0.0.9"], 30)
    whole(cluster, sidecar)
    assert seen(sidecar)["compared"] > before


def test_a_lost_event_behind_a_progress_notice_shows_without_a_next_change(fleet):
    """The notice moves the watch on past the change: the next watch would begin after it."""
    cluster, between, writer, sidecar, zone = fleet
    between.rule = Events(lambda stream, message: [])
    add(writer, zone, "lost")
    until(lambda: between.rule.count, "it is lost")
    revision = cluster.head()[1]
    [watch] = between.watches()
    identity = int(cluster.ctl("endpoint", "status", "-w", "json").stdout.split('"cluster_id":')[1].split(",")[0])
    between.do(watch.send, proxies.header(identity, revision))
    between.rule = proxies.Rule()
    # what was sent on the stream is read before its end
    between.do(lambda: watch.down_queue.append(None) or watch.link.flush())
    answers(sidecar, "lost.a.example", ["10.0.0.9"], 30)
    whole(cluster, sidecar)


def test_events_that_come_twice_change_nothing(fleet):
    cluster, between, writer, sidecar, zone = fleet
    before = seen(sidecar)
    between.rule = Events(lambda stream, message: [message, message])
    for number in range(10):
        add(writer, zone, f"n{number}")
    answers(sidecar, "n9.a.example", ["10.0.0.9"], 30)
    whole(cluster, sidecar)
    after = seen(sidecar)
    assert (after["compared"], after["failures"]) == (before["compared"], before["failures"])


def test_events_that_change_places(fleet):
    cluster, between, writer, sidecar, zone = fleet
    held = []

    def swap(stream, message):
        if not held:
            held.append(message)
            return []
        return [message, held.pop()]

    between.rule = Events(swap)
    for number in range(10):
        add(writer, zone, f"n{number}")
    between.rule = proxies.Rule()
    for number in range(10):
        answers(sidecar, f"n{number}.a.example", ["10.0.0.9"], 60)
    whole(cluster, sidecar)


def test_an_answer_that_is_cut_in_the_middle(fleet):
    cluster, between, writer, sidecar, zone = fleet
    load = Load(sidecar, "www.a.example", [["10.0.0.1"]])

    def half(stream, message):
        stream.raw(b"\0" + struct.pack("!I", len(message)) + message[: len(message) // 2])
        stream.link.writer.close()
        return []

    between.rule = Events(half)
    add(writer, zone, "cut")
    until(lambda: between.rule.count >= 2, "twice", 30)
    assert values(sidecar, "cut.a.example") == []
    between.rule = proxies.Rule()
    answers(sidecar, "cut.a.example", ["10.0.0.9"], 60)
    whole(cluster, sidecar)
    load.end()


def test_events_that_come_late(fleet):
    cluster, between, writer, sidecar, zone = fleet
    late = []

    def keep(stream, message):
        late.append((stream, message))
        return []

    between.rule = Events(keep)
    for number in range(5):
        add(writer, zone, f"n{number}")
    until(lambda: len(late) >= 5, "all wait")
    assert values(sidecar, "n0.a.example") == []
    failures = seen(sidecar)["failures"]
    between.do(lambda: [stream.send(message) for stream, message in late])
    answers(sidecar, "n4.a.example", ["10.0.0.9"])
    whole(cluster, sidecar)
    assert seen(sidecar)["failures"] == failures


def test_a_large_change_is_in_force_on_its_node_though_its_watch_is_late(etcd, node, proxy):  # noqa: F811
    """The node that carries a large change out knows its rows: it need not wait for its own watch."""
    cluster = etcd(members=1)
    between = proxy(cluster.members[0])
    writer = node(Through(between), "w", writes=True)
    caller = api.Api(writer, patience=60)
    zone = caller.zone("a.example", vpcs=["vpc-one"], records=[(f"r{n}", "A", "10.0.0.1") for n in range(130)])
    late = []

    def keep(stream, message):
        late.append((stream, message))
        return []

    between.rule = Events(keep)
    caller.call("BindZoneVpc", ZoneId=zone)
    caller.call("DeleteZone", ZoneId=zone)  # more than 100 rows; refused with 503 if it waited for the watch
    assert late, "the watch has not told of it yet"
    assert values(writer, "r0.a.example") == []
    assert caller.call("DescribeZones")["TotalItems"] == 0
    other = caller.call("AddZone", ZoneName="b.example")
    assert other["ZoneId"]
    between.rule = proxies.Rule()
    between.do(lambda: [stream.send(message) for stream, message in late])
    whole(cluster, writer)


# --- a peer that lies --------------------------------------------------------------------------------------------


class Stalls(proxies.Rule):
    """Connections are taken, and nothing is said."""

    async def connected(self, link):
        self.count += 1
        await link.reader.read(-1)

    count = 0


class Says(Stalls):
    """Octets that are the same for all, then the end."""

    def __init__(self, octets):
        self.octets = octets

    async def connected(self, link):
        self.count += 1
        link.writer.write(self.octets)
        await link.writer.drain()
        link.writer.close()


class Resets(Stalls):
    async def connected(self, link):
        self.count += 1
        link.writer.transport.abort()


class EndlessHeaders(Stalls):
    """An answer whose headers never end."""

    async def connected(self, link):
        self.count += 1
        link.writer.write(http2.settings() + http2.frame(http2.HEADERS, 0, 1, b"\x88"))
        one = http2.literal(b"x", b"y" * 100) * 100
        while True:
            link.writer.write(http2.frame(9, 0, 1, one))
            await link.writer.drain()


class Answers(proxies.Rule):
    """Something else for each answer of some calls."""

    def __init__(self, each, *paths):
        self.each, self.paths, self.count = each, paths, 0

    def answer(self, stream, message):
        if self.paths and stream.path not in self.paths:
            return [message]
        self.count += 1
        return self.each(stream, message)


class Floods(proxies.Rule):
    """A watch that says something endlessly, as fast as it is read."""

    def __init__(self, make, least):
        self.make, self.least, self.count = make, least, 0
        self.begun = set()

    def answer(self, stream, message):
        if stream.path == proxies.WATCH and id(stream) not in self.begun:
            self.begun.add(id(stream))
            asyncio.ensure_future(self.flood(stream, message))
            return [message]
        return [] if stream.path == proxies.WATCH else [message]

    async def flood(self, stream, message):
        cluster, revision = proxies.get(message, 1, 1, default=0), proxies.get(message, 1, 3, default=0)
        while stream.open and stream.link in stream.link.proxy.links and stream.link.proxy.rule is self:
            if not stream.down_queue:
                octets, count = self.make(cluster, revision, self.count)
                self.count += count
                stream.send(octets)
            await asyncio.sleep(0)


AT_ONCE = 10_000


def loose_events(cluster, revision, done):
    """Events of a row whose head never comes."""
    revision += 1 + done // AT_ONCE
    return proxies.header(cluster, revision) + an_event(revision) * AT_ONCE, AT_ONCE


def one_fragment(cluster, revision, done):
    """Events of one revision, in parts that never end."""
    return proxies.header(cluster, revision + 1) + proxies.field(7, 1) + an_event(revision + 1) * AT_ONCE, AT_ONCE


def an_event(revision):
    key = b"/pvtzd/default/v1/data/row/record/00000000000000004711"
    return proxies.field(11, [proxies.field(2, [proxies.field(1, key), proxies.field(3, revision), proxies.field(5, b"1 {}")])])


def progress(cluster, revision, done):
    return proxies.header(cluster, revision), 1


def huge(octets):
    """A message of this many octets."""

    def each(stream, message):
        stream.raw(b"\0" + struct.pack("!I", octets) + b"\x5a\x00" * (20 * MIB // 2))
        return []

    return each


def moved_by(revisions):
    return lambda stream, message: [proxies.with_header(message, revision=max(1, proxies.get(message, 1, 3, default=0) + revisions))]


GOAWAY = http2.settings() + http2.frame(http2.GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0")
LIES = {
    "stalls": lambda: Stalls(),
    "resets": lambda: Resets(),
    "goes away": lambda: Says(GOAWAY),
    "garbage": lambda: Says(bytes(range(256)) * 1000),
    "HTTP/1": lambda: Says(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100),
    "headers that never end": lambda: EndlessHeaders(),
    "empty answers": lambda: Answers(lambda stream, message: [b""]),
    "cut answers": lambda: Answers(lambda stream, message: [message[: len(message) // 2]]),
    "random answers": lambda: Answers(lambda stream, message: [bytes(255 - octet for octet in message)]),
    "a message of 4 GiB": lambda: Answers(huge(0xFFFFFFFF)),
    "a message of 20 MiB": lambda: Answers(huge(20 * MIB), proxies.WATCH),
    "rows of two octets": lambda: Answers(lambda stream, message: [message + b"\x12\x00" * (8 * MIB)], proxies.RANGE, proxies.TXN),
    "events of two octets": lambda: Answers(lambda stream, message: [message + b"\x5a\x00" * (4 * MIB)], proxies.WATCH),
    "a lower revision": lambda: Answers(moved_by(-1000)),
    "a higher revision": lambda: Answers(moved_by(1 << 40)),
    "the highest revision": lambda: Answers(lambda stream, message: [proxies.with_header(message, revision=(1 << 63) - 1)]),
    "a negative revision": lambda: Answers(lambda stream, message: [proxies.with_header(message, revision=-1)]),
    "another cluster": lambda: Answers(lambda stream, message: [proxies.with_header(message, cluster=4711)]),
    "no cluster": lambda: Answers(lambda stream, message: [proxies.with_header(message, cluster=0)]),
    "many events": lambda: Floods(loose_events, MANY),
    "one revision without end": lambda: Floods(one_fragment, MANY),
    "progress without end": lambda: Floods(progress, 20_000),
}


def memory(server, what="VmHWM"):
    """Octets, at most so far."""
    return int(re.search(rf"{what}:\s*(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) << 10


@pytest.mark.parametrize("lie", LIES)
def test_a_peer_that_lies(fleet, lie, note):
    cluster, between, writer, sidecar, zone = fleet
    before = memory(sidecar)
    load = Load(sidecar, "www.a.example", [["10.0.0.1"]])
    between.rule = rule = LIES[lie]()
    between.cut()
    add(writer, zone, "meanwhile")
    try:
        until(lambda: rule.count >= getattr(rule, "least", 2), "the lie was heard", 60)
    finally:
        note("times heard", rule.count)
    assert values(sidecar, "www.a.example") == ["10.0.0.1"]
    between.rule = proxies.Rule()
    between.cut()
    add(writer, zone, "after")
    for name in ("meanwhile", "after"):
        answers(sidecar, f"{name}.a.example", ["10.0.0.9"], 60)
    whole(cluster, sidecar)
    load.end()
    used = memory(sidecar) - before
    note("MiB at most", used >> 20)
    assert used < 96 * MIB


@pytest.mark.parametrize("lie", ["a higher revision", "a lower revision", "another cluster"])
def test_a_lie_on_a_watch_that_goes_on(fleet, lie):
    """The same watch is honest afterwards: what was believed must not outlive the lie."""
    cluster, between, writer, sidecar, zone = fleet
    between.rule = LIES[lie]()
    between.rule.paths = (proxies.WATCH,)
    add(writer, zone, "lied")
    until(lambda: between.rule.count, "it was heard")
    between.rule = proxies.Rule()
    for name in ("one", "two"):
        add(writer, zone, name)
    for name in ("lied", "one", "two"):
        answers(sidecar, f"{name}.a.example", ["10.0.0.9"], 60)
    whole(cluster, sidecar)


def test_an_empty_store_behind_the_same_address_removes_nothing(etcd, node, proxy):  # noqa: F811
    """A cluster that lost its data, or the wrong one: what is there is served, until it is accepted."""
    cluster, empty = etcd(members=1), etcd(members=1)
    between = proxy(cluster.members[0])
    writer, sidecar = node(cluster, "w", writes=True), node(Through(between), "s")
    api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    between.target = empty.members[0].client
    between.cut()
    until(lambda: seen(sidecar)["state"] == "held", "held", 30)
    assert values(sidecar, "www.a.example") == ["10.0.0.1"]
    between.target = cluster.members[0].client
    between.cut()
    until(lambda: seen(sidecar)["state"] == "following", "as before", 60)
    assert values(sidecar, "www.a.example") == ["10.0.0.1"]
