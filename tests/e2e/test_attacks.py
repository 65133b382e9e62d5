"""Under attack: forged replies at high rates, reflection, amplification, floods from forged addresses.

Each attack happens in a network namespace of its own, over raw sockets. `PVTZD_LONG_ATTACK=1` makes each of the
forgers' attacks last a minute; without it they last 5 seconds.
"""

import contextlib
import itertools
import os
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dns.edns
import dns.message
import pytest
from harness import metrics
from harness.ask import ask, query
from harness.fake import Fake, address
from harness.private import ZONE
from harness.wait import until

SECONDS = 60 if os.environ.get("PVTZD_LONG_ATTACK") else 5
RATE = 50_000  # forged datagrams a second
LIE = "203.0.113.66"
TRUTH = "192.0.2.1"
UPSTREAM = "127.0.53.9"
GUESSES = 40  # for a question: 3 at the relay's port, then 8 at the port of each of the exchange's tries


@pytest.fixture
def scene(namespace, start, program):
    """A network where one may forge, with `upstream(script)`, `pvtzd(text, upstream=…)` and `forger(upstream)`."""
    made = []

    class Scene:
        def upstream(self, script):
            with namespace.inside():
                made.append(Fake(script, host=UPSTREAM))
            return made[-1]

        def pvtzd(self, text="", **options):
            return start(text, prefix=namespace.prefix, **options)

        def ask(self, server, name):
            """From an address that the forger does not aim at."""
            with namespace.inside():
                return ask(server.where, name, source="127.0.0.2")

        def total(self, server, name):
            with namespace.inside():
                return metrics.total(server, name)

        def forger(self, upstream):
            words = (upstream.host, upstream.port, "127.0.0.1", LIE, RATE, SECONDS + 30, 1)
            made.append(Forger([*namespace.prefix, program("forge"), *map(str, words)]))
            return made[-1]

    found = Scene()
    found.namespace = namespace
    yield found
    for one in reversed(made):
        one.close()


class Forger:
    """`harness/forge.c`: forges replies for whatever it is aimed at."""

    def __init__(self, command):
        self.lock = threading.Lock()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.begun, self.sent = time.monotonic(), None

    def aim(self, name, port=0, id=-1):
        with self.lock:
            self.process.stdin.write(f"{name} {port} {id}\n")
            self.process.stdin.flush()

    def close(self):
        """Ends it; how many datagrams it sent is in `sent`, how many a second in `rate`."""
        if self.sent is None:
            took = time.monotonic() - self.begun
            said, _ = self.process.communicate(timeout=10)
            self.sent = int(said or 0)
            self.rate = self.sent / took


def under_attack(scene, server, names, clients):
    """Asks for names while the attack lasts, so many at a time; all answers. On a busy machine it lasts longer: until
    some of the forger's datagrams have met an open port."""
    begun, answers = time.monotonic(), []
    with ThreadPoolExecutor(clients) as pool:
        while (lasted := time.monotonic() - begun) < SECONDS + 20:
            if lasted > SECONDS and scene.total(server, "pvtzd_forward_mismatches_total") > 0:
                break
            asked = [next(names) for _ in range(clients)]
            answers += zip(asked, pool.map(lambda name: scene.ask(server, name), asked), strict=True)
    return answers


def check(scene, server, answers):
    """Every name has its true address, in the cache too. A machine that is too busy may fail one now and then, but
    never lies; and what has failed resolves when it is asked again."""
    failed = [name for name, answer in answers if answer.rcode == "SERVFAIL" and not answer.records]
    for name, answer in answers:
        assert answer.values == [TRUTH] or name in failed, (name, answer)
    assert len(failed) <= 1 + len(answers) / 100, failed
    for name in failed + [name for name, _ in answers[-50:] if name not in failed]:
        until(lambda name=name: truth_of(scene, server, name), f"{name} resolves")
    return len(failed)


def truth_of(scene, server, name):
    """True for the true address, false for a failure; nothing else is ever answered."""
    answer = scene.ask(server, name)
    assert answer.values == [TRUTH] or answer.rcode == "SERVFAIL", (name, answer)
    return answer.values == [TRUTH]


def test_a_blind_forger_gets_nothing_in(scene, note):
    """He knows which name is asked at which moment, and guesses port, id and case."""
    forger = None

    def slow(asked):
        forger.aim(asked.name)
        time.sleep(0.2)
        return asked.response(f"@ 300 IN A {TRUTH}")

    upstream = scene.upstream(slow)
    server = scene.pvtzd(metrics.OPS + ZONE, upstream=[upstream])
    forger = scene.forger(upstream)
    answers = under_attack(scene, server, map("a{}.test".format, itertools.count()), clients=8)
    forger.close()
    note("forged a second", round(forger.rate))
    note("names", len(answers))
    note("mismatches", scene.total(server, "pvtzd_forward_mismatches_total"))
    note("failed at first", check(scene, server, answers))
    assert scene.ask(server, "www.p.example").values == ["10.0.0.1"]
    assert scene.total(server, "pvtzd_forward_mismatches_total") > 0, "some of his datagrams met an open port"


@pytest.mark.parametrize("knows", ["port", "port-and-id"])
def test_a_forger_who_knows_the_port_gets_nothing_in(scene, note, knows):
    """He is told the port of each question, and even its id: what remains is to guess the letters' case."""
    forger = None

    def slow(asked):
        if asked.transport == "UDP":
            forger.aim(asked.name, asked.peer[1], asked.message.id if knows == "port-and-id" else -1)
            time.sleep(0.15)
        return asked.response(f"@ 300 IN A {TRUTH}")

    upstream = scene.upstream(slow)
    server = scene.pvtzd(metrics.OPS, upstream=[upstream])
    forger = scene.forger(upstream)
    names = map("a{}.name-with-many-letters-whose-case-he-has-to-guess.test".format, itertools.count())
    answers = under_attack(scene, server, names, clients=1)
    forger.close()
    mismatches = scene.total(server, "pvtzd_forward_mismatches_total")
    by_tcp = {name for _, name, _ in upstream.questions(transport="TCP")}
    note("forged a second", round(forger.rate))
    note("names, of them over TCP", (len(answers), len(by_tcp)))
    note("mismatches", mismatches)
    note("failed at first", check(scene, server, answers))
    assert mismatches >= len(by_tcp) > len(answers) / 2, "they are asked over TCP"
    assert mismatches < GUESSES * len(answers), "a port that he knows is left after a few guesses"
    assert scene.total(server, "pvtzd_forward_tcp_fallbacks_total") >= len(by_tcp)


# --- packets that nobody should answer ------------------------------------------------------------------------


def raw(source, destination, payload):
    """A datagram with any source: `(address, port)` each."""
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", source[1], destination[1], length, 0) + payload
    ends = [socket.inet_aton(end[0]) for end in (source, destination)]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 64, 17, 0, *ends)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(head + udp, (destination[0], 0))


@contextlib.contextmanager
def overheard():
    """The datagrams that go about on this machine, `(source, destination, payload)`, up to one that `stop` is for."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
        sock.settimeout(6)

        def until_seen(stop):
            seen = []
            while not seen or not stop(seen[-1]):
                packet = sock.recv(65535)
                at = (packet[0] & 15) * 4
                ports = struct.unpack("!HH", packet[at : at + 4])
                ends = [(socket.inet_ntoa(packet[12 + 4 * end : 16 + 4 * end]), ports[end]) for end in (0, 1)]
                seen.append((*ends, packet[at + 8 :]))
            return seen

        yield until_seen


def last_word(server, until_seen):
    """Asks an ordinary question; what was overheard up to its answer."""
    marker = query("www.p.example")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.99", 0))
        sock.sendto(marker.to_wire(), server.where)
        return until_seen(lambda one: one[1] == sock.getsockname())


def test_nothing_is_sent_to_port_zero(scene):
    server = scene.pvtzd(ZONE, upstream=[scene.upstream(address(TRUTH))])
    with scene.namespace.inside(), overheard() as until_seen:
        for name in ("www.p.example", "new.test"):
            raw(("127.0.0.98", 0), server.where, query(name).to_wire())
        seen = last_word(server, until_seen)
        assert not [one for one in seen if one[0] == server.where and one[1][1] == 0]
        assert scene.ask(server, "www.p.example").values == ["10.0.0.1"]


@pytest.mark.parametrize("kind", ["query", "failing", "new"])
def test_two_servers_are_not_set_on_each_other(scene, kind):
    """A query in the name of one server, sent to the other: one answer goes out, and that is the end of it."""
    first = scene.pvtzd(ZONE, upstream=[scene.upstream(address(TRUTH))])
    second = scene.pvtzd(ZONE, upstream=[])
    packet = bytearray(query("new.test" if kind == "new" else "www.p.example").to_wire())
    if kind == "failing":
        packet[5] = 0  # no question at all: FORMERR
    with scene.namespace.inside(), overheard() as until_seen:
        raw(second.where, first.where, bytes(packet))
        raw(first.where, first.where, bytes(packet))
        seen = until_seen(lambda one: one[0] == first.where and one[1] == second.where)
        seen += last_word(first, until_seen) + last_word(second, until_seen)
    ours = {first.where, second.where}
    answers = [one[:2] for one in seen if one[0] in ours and one[1] in ours and one[2][2] & 0x80]
    assert sorted(answers) in ([(first.where, second.where)], sorted([(first.where, second.where), (first.where,) * 2]))


def test_names_that_lead_on_for_ever_cost_few_questions(scene):
    """A chain of CNAMEs that its owner makes as he goes (as in TsuNAME and CAMP)."""

    def on_and_on(asked):
        number = int(asked.name.split(".", 1)[0][1:])
        return asked.response(f"@ 0 IN CNAME c{number + 1}.chain{number % 3}.test.")

    upstream = scene.upstream(on_and_on)
    server = scene.pvtzd(upstream=[upstream])
    answer = scene.ask(server, "c0.chain0.test")
    assert answer.rcode == "SERVFAIL" and answer.elapsed < 5.5
    assert upstream.count() <= 20, "16 names in a chain; a slow machine may repeat a question"


# --- clients who lie about their address ----------------------------------------------------------------------

LIMITED = """
[server]
allow = ["127.0.0.0/8", "10.9.0.0/16"]
max_rate_per_network = 100
"""


class Client:
    """Sends many queries from one address and sorts what comes back."""

    def __init__(self, source, where):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((source, 0))
        self.sock.connect(where)

    def send(self, count, cookie=None):
        message = query("www.p.example")
        if cookie:
            message.use_edns(0, payload=1232, options=[dns.edns.GenericOption(10, cookie)])
        packet = bytearray(message.to_wire())
        self.longest, full, cut, last = len(packet), 0, 0, None
        for number in range(count):
            packet[:2] = struct.pack("!H", number)
            self.sock.send(packet)
            if number % 20 == 19:
                for last in self.receive(0.02):
                    full, cut = full + (not last[2] & 2), cut + bool(last[2] & 2)
        for last in self.receive(0.5):
            full, cut = full + (not last[2] & 2), cut + bool(last[2] & 2)
        return full, cut, last

    def receive(self, patience):
        self.sock.settimeout(patience)
        with contextlib.suppress(TimeoutError):
            while True:
                answer = self.sock.recv(4096)
                assert not answer[2] & 2 or len(answer) <= self.longest, "TC alone is no longer than the question"
                yield answer


def test_a_network_that_shows_no_cookie_gets_its_rate_and_a_real_client_comes_through(scene):
    for number in (1, 2, 3):
        scene.namespace.address(f"10.9.0.{number}")
    server = scene.pvtzd(LIMITED + ZONE, listen=("10.9.0.1:0",))
    with scene.namespace.inside():
        begun = time.monotonic()
        full, cut, _ = Client("10.9.0.2", server.where).send(2000)
        most = 100 * (2 + time.monotonic() - begun)
        assert 200 <= full <= most + 5, (full, most)
        rest = 2000 - full
        assert rest * 0.4 <= cut <= rest * 0.5 + 1, "every second one is told to come over TCP, the others nothing"
        assert ask(server.where, "www.p.example", tcp=True, source="10.9.0.3").values == ["10.0.0.1"]


def test_who_shows_a_cookie_is_answered_at_any_rate(scene):
    for number in (1, 2):
        scene.namespace.address(f"10.9.0.{number}")
    server = scene.pvtzd(LIMITED + ZONE, listen=("10.9.0.1:0",))
    with scene.namespace.inside():
        client = Client("10.9.0.2", server.where)
        _, _, answer = client.send(1, cookie=b"8 octets")
        cookie = next(option.to_wire() for option in dns.message.from_wire(answer).options if int(option.otype) == 10)
        assert cookie.startswith(b"8 octets") and len(cookie) == 24
        full, cut, _ = client.send(1000, cookie=cookie)
        assert (full, cut) == (1000, 0)
        forged = cookie[:-1] + bytes([cookie[-1] ^ 1])
        full, cut, _ = client.send(1000, cookie=forged)
        assert full < 600 and cut > 100, "a cookie that was not given by us is none"


def test_loopback_is_not_limited(scene):
    server = scene.pvtzd(LIMITED + ZONE)
    with scene.namespace.inside():
        full, cut, _ = Client("127.0.0.1", server.where).send(1000)
        assert (full, cut) == (1000, 0)
