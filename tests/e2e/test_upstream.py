"""Upstream servers that fail, lie, mangle, delay, cut, come back, or lead back to us."""

import collections
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dns.edns
import dns.flags
import dns.message
import dns.name
import pytest
from harness import fake as scripts
from harness.ask import exchange, query
from harness.fake import address, nxdomain, rcode, silent
from harness.private import ZONE
from harness.process import free_port
from harness.wait import until

RECOVERY = 2 + 1.5  # the promise, and what a busy machine may add
NO_STALE = '[cache]\nserve_stale = "off"\n'


def nobody():
    """An address where no server listens."""
    return f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize("strategy", ["failover", "fastest", "parallel"])
@pytest.mark.parametrize(
    "broken", [rcode("SERVFAIL"), rcode("REFUSED"), rcode("NOTIMP"), silent], ids=["servfail", "refused", "notimp", "silent"]
)
def test_the_next_server_answers_for_one_that_fails(start, fake, strategy, broken):
    server = start(upstream=[fake(broken), fake()], strategy=strategy)
    for number in range(8):
        answer = server.ask(f"n{number}.test")
        assert answer.values == ["192.0.2.1"] and answer.elapsed < 4, answer


def test_the_next_server_answers_for_one_that_is_dead(start, fake):
    server = start(upstream=[nobody(), fake()])
    for number in range(8):
        answer = server.ask(f"n{number}.test")
        assert answer.values == ["192.0.2.1"] and answer.elapsed < 4


def test_the_next_server_answers_for_one_that_does_not_resolve_for_us(start, fake):
    def refer(asked):
        message = asked.response(authority=["test. 300 IN NS ns1.test."])
        message.flags &= ~dns.flags.RA
        return message

    server = start(upstream=[fake(refer), fake()])
    assert server.ask("www.test").values == ["192.0.2.1"]


def test_yxdomain_is_a_verdict_on_the_name_and_passes_through(start, fake):
    first, second = fake(rcode("YXDOMAIN")), fake()
    server = start(upstream=[first, second])
    for tcp in (False, True, False):
        assert server.ask("long.test", tcp=tcp).rcode == "YXDOMAIN"
    assert (first.count(), second.count()) == (1, 0), "it is kept for a moment"


@pytest.mark.parametrize("word", ["FORMERR", "YXRRSET", "NOTAUTH"])
def test_other_failing_codes_are_failed_over_too(start, fake, word):
    server = start(upstream=[fake(rcode(word)), fake()])
    assert server.ask("www.test").values == ["192.0.2.1"]


def test_yxdomain_is_of_the_name(start, fake):
    first, second = fake(rcode("YXDOMAIN")), fake(rcode("YXDOMAIN"))
    server = start(upstream=[first, second])
    assert server.ask("www.test").rcode == "YXDOMAIN"
    long = ".".join(["l" * 61] * 3)
    target = "a-rather-long-target-name-that-does-not-fit-behind-such-names.example"
    first.script = lambda asked: asked.response(f"old.test. 60 IN DNAME {target}.", rcode="YXDOMAIN")
    before = second.count()
    answer = server.ask(f"{long}.old.test")
    assert (answer.rcode, answer.values) == ("YXDOMAIN", [target])
    assert second.count() == before


def test_nxdomain_and_nodata_are_answers_and_not_failed_over(start, fake):
    first, second = fake(nxdomain()), fake()
    server = start(upstream=[first, second])
    assert server.ask("gone.test").rcode == "NXDOMAIN"
    first.script = lambda asked: asked.response(authority=[scripts.soa()])
    assert server.ask("empty.test").is_nodata
    assert (first.count(), second.count()) == (2, 0)


def test_the_order_is_kept_while_the_first_answers(start, fake):
    first, second = fake(address("192.0.2.1")), fake(address("192.0.2.2"))
    server = start(upstream=[first, second])
    for number in range(20):
        server.ask(f"n{number}.test")
    assert first.count() == 20 and second.count() <= 5, "a hedge at most now and then"


def test_parallel_asks_all_and_takes_the_first_good_answer(start, fake):
    gate = threading.Event()

    def late(asked):
        gate.wait(5)
        return asked.response("@ 60 IN A 192.0.2.9")

    bad, slow, good = fake(rcode("SERVFAIL")), fake(late), fake(address("192.0.2.3"))
    server = start(upstream=[bad, slow, good], strategy="parallel")
    assert server.ask("a.test").values == ["192.0.2.3"]
    until(lambda: (bad.count(), slow.count(), good.count()) == (1, 1, 1), "each was asked, once")
    gate.set()


def test_a_dead_server_is_used_again_within_two_seconds_of_its_return(start, fake):
    first, second = fake(address("192.0.2.1")), fake(address("192.0.2.2"))
    server = start(upstream=[first, second])
    names = (f"n{number}.test" for number in range(100_000))
    assert server.ask(next(names)).values == ["192.0.2.1"]
    first.stop()
    until(lambda: all(server.ask(next(names)).values == ["192.0.2.2"] for _ in range(10)), "the second takes over")
    first.start()
    returned = time.monotonic()
    until(lambda: server.ask(next(names)).values == ["192.0.2.1"], "the first is used again")
    assert time.monotonic() - returned < RECOVERY


def test_a_lonely_server_that_returns_is_used_within_two_seconds(start, fake):
    only = fake()
    server = start(upstream=[only])
    assert server.ask("before.test").values
    only.stop()
    assert server.ask("during.test").rcode == "SERVFAIL"
    only.start()
    returned = time.monotonic()
    until(lambda: server.ask("during.test").rcode == "NOERROR", "the name that failed resolves")
    assert time.monotonic() - returned < RECOVERY


@pytest.mark.parametrize("strategy", ["failover", "fastest", "parallel"])
def test_all_dead_is_servfail_with_a_reason_within_four_seconds(start, fake, strategy):
    server = start(ZONE, upstream=[fake(silent), fake(silent)], strategy=strategy)
    answer = server.ask("www.test")
    assert answer.rcode == "SERVFAIL" and answer.ede and answer.elapsed < 4.5
    assert "www.test" in answer.ede_text
    again = server.ask("www.test")
    assert again.rcode == "SERVFAIL" and again.elapsed < 4.5
    assert server.ask("www.p.example").values == ["10.0.0.1"]


def test_all_refusing_connections_fail_at_once(start):
    server = start(upstream=[nobody(), nobody()])
    answer = server.ask("www.test")
    assert answer.rcode == "SERVFAIL" and answer.ede and answer.elapsed < 4.5


def test_all_answering_servfail_is_servfail_at_once(start, fake):
    servers = [fake(rcode("SERVFAIL")), fake(rcode("REFUSED"))]
    server = start(upstream=servers)
    answer = server.ask("www.test")
    assert answer.rcode == "SERVFAIL" and answer.ede and answer.elapsed < 2
    asked = sum(one.count() for one in servers)
    assert server.ask("www.test").rcode == "SERVFAIL"
    assert sum(one.count() for one in servers) == asked, "remembered for some seconds (RFC 9520)"


def unread(port):
    """Octets that wait in the UDP sockets of a port."""
    with open("/proc/net/udp") as table:
        lines = [line.split() for line in table.readlines()[1:]]
    return sum(int(line[4].split(":")[1], 16) for line in lines if int(line[1].split(":")[1], 16) == port)


def test_200_clients_of_one_question_cost_one_upstream_query(start, fake):
    gate = threading.Event()

    def held(asked):
        gate.wait(20)
        return asked.response("@ 60 IN A 192.0.2.5")

    upstream = fake(held)
    server = start(ZONE, upstream=[upstream])
    clients = []
    for number in range(200):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.9.0.{number + 1}", 0))
        sock.connect(server.where)
        sock.settimeout(6)
        spelling = "".join(c.upper() if number >> at & 1 else c for at, c in enumerate("one-name.test"))
        clients.append((sock, query(spelling)))
    packets = [(sock, message.to_wire()) for sock, message in clients]
    begun = time.monotonic()
    for sock, packet in packets:  # at once: a server that is silent for longer than usual (60 ms) is asked again
        sock.send(packet)
    until(lambda: upstream.count() >= 1, "the upstream is asked")
    until(lambda: unread(server.port) == 0, "every query has been read")
    assert server.ask("www.p.example").values == ["10.0.0.1"]
    gate.set()
    answered = None
    for sock, message in clients:
        answer = dns.message.from_wire(sock.recv(4096))
        answered = answered or time.monotonic()  # from now on nothing is asked
        sock.close()
        assert answer.id == message.id
        assert answer.question[0].name.to_text() == message.question[0].name.to_text(), "its own spelling"
        assert answer.answer[0][0].to_text() == "192.0.2.5"
    if answered - begun < 0.3:
        assert upstream.count() == 1
    else:
        assert upstream.count() <= 6, "on a slow machine one question is repeated to a server that stays silent"


def forged(change):
    """The true answer after one or more that are not: `change(asked)` gives the octets to send first."""

    def script(asked):
        if asked.transport == "UDP":
            return [change(asked), asked.response("@ 60 IN A 192.0.2.1")]
        return asked.response("@ 60 IN A 192.0.2.1")

    return script


def lie(asked):
    return asked.response("@ 60 IN A 203.0.113.66")


def wrong_id(asked):
    octets = bytearray(lie(asked).to_wire())
    octets[0] ^= 0x55
    return bytes(octets)


def wrong_name(asked):
    message = lie(asked)
    other = dns.name.from_text("evil.test")
    message.question[0].name = other
    message.answer[0].name = other
    return message


def wrong_type(asked):
    message = lie(asked)
    message.question[0].rdtype = 28
    return message


def wrong_class(asked):
    message = lie(asked)
    message.question[0].rdclass = 3
    return message


def wrong_case(asked):
    message = lie(asked)
    folded = dns.name.from_text(asked.message.question[0].name.to_text().swapcase())
    message.question[0].name = folded
    return message


def a_query(asked):
    octets = bytearray(lie(asked).to_wire())
    octets[2] &= 0x7F
    return bytes(octets)


def garbage(_asked):
    return b"\xde\xad\xbe\xef" * 10


def cut(asked):
    return asked.response("@ 60 IN A 203.0.113.66").to_wire()[:-3]


def header_only(asked):
    return asked.response().to_wire()[:12]


def compression_loop(asked):
    octets = bytearray(asked.response().to_wire())
    octets[7] = 1
    end = len(asked.message.question[0].name.to_wire()) + 16
    return bytes(octets[:end]) + b"\xc0" + bytes([end]) + b"\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04"


@pytest.mark.parametrize(
    "change",
    [wrong_id, wrong_name, wrong_type, wrong_class, wrong_case, a_query, garbage, cut, header_only, compression_loop],
)
def test_lies_are_ignored_and_the_truth_is_taken(start, fake, change):
    server = start(upstream=[fake(forged(change))])
    for number in range(3):
        answer = server.ask(f"name{number}letters.test")
        assert answer.values == ["192.0.2.1"], answer


def test_an_answer_from_another_port_is_ignored(start, fake):
    def elsewhere(asked):
        if asked.transport == "UDP":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.1", 0))
                stranger.sendto(lie(asked).to_wire(), asked.peer)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.77", 0))
                stranger.sendto(lie(asked).to_wire(), asked.peer)
        return asked.response("@ 60 IN A 192.0.2.1")

    server = start(upstream=[fake(elsewhere)])
    assert server.ask("www.test").values == ["192.0.2.1"]


@pytest.mark.parametrize("change", [garbage, cut, compression_loop, wrong_id])
def test_nothing_but_lies_moves_to_the_next_server(start, fake, change):
    liar = fake(lambda asked: [change(asked)] * 3 if asked.transport == "UDP" else change(asked))
    server = start(upstream=[liar, fake(address("192.0.2.2"))])
    answer = server.ask("www.test")
    assert answer.values == ["192.0.2.2"] and answer.elapsed < 4


def test_records_for_other_names_are_not_believed(start, fake):
    def poison(asked):
        if asked.name == "www.test":
            return asked.response(
                "@ 60 IN A 192.0.2.1", "victim.test. 60 IN A 203.0.113.66", "ns.test. 60 IN A 203.0.113.67"
            )
        return asked.response("@ 60 IN A 192.0.2.2")

    server = start(upstream=[fake(poison)])
    assert server.ask("www.test").values == ["192.0.2.1"]
    assert server.ask("victim.test").values == ["192.0.2.2"]


def test_a_cut_answer_is_fetched_over_tcp_and_given_whole(start, authority):
    server = start(upstream=[authority])
    answer = server.ask("big.test", tcp=True)
    assert len(answer.records) == 100 and "tc" not in answer.flags


def test_a_cut_answer_over_tcp_by_script(start, fake):
    def script(asked):
        if asked.transport == "UDP":
            return asked.response(flags=dns.flags.TC)
        return asked.response("@ 60 IN A 192.0.2.1")

    upstream = fake(script)
    server = start(upstream=[upstream])
    assert server.ask("www.test").values == ["192.0.2.1"]
    transports = [transport for transport, _, _ in upstream.questions()]
    assert transports[-1] == "TCP" and transports.count("TCP") == 1 and transports.count("UDP") <= 2


def test_a_server_without_edns_is_asked_again_without(start, fake):
    def old(asked):
        if asked.message.edns >= 0:
            answer = asked.response(rcode="FORMERR")
            answer.use_edns(False)
            return answer
        return asked.response("@ 60 IN A 192.0.2.1")

    upstream = fake(old)
    server = start(upstream=[upstream])
    for name in ("a.test", "b.test", "c.test", "d.test"):
        assert server.ask(name).values == ["192.0.2.1"]
    assert [asked.message.edns >= 0 for asked in upstream.log if asked.name == "a.test"][-1] is False
    # one name is no evidence of what the server can do; three are
    assert [asked.message.edns >= 0 for asked in upstream.log if asked.name == "d.test"] == [False], "remembered"


def test_a_server_that_folds_case_still_serves(start, fake):
    def folding(asked):
        message = asked.response("@ 60 IN A 192.0.2.1")
        message.question[0].name = dns.name.from_text(asked.name)
        return message

    server = start(upstream=[fake(folding)])
    for number in range(6):
        assert server.ask(f"some-long-name-{number}.test").values == ["192.0.2.1"]


def test_queries_are_hard_to_guess(start, fake):
    upstream = fake()
    server = start(upstream=[upstream])
    for number in range(40):
        server.ask(f"a-name-with-letters-{number}.test")
    asked = [one for one in upstream.log if one.transport == "UDP"]
    assert len({one.message.id for one in asked}) >= 38
    assert len({one.peer[1] for one in asked}) >= 8, "a random port each, or one of a pool of them"
    assert sum(one.message.question[0].name.to_text().islower() for one in asked) < 3, "0x20"


def test_what_a_client_says_in_edns_options_is_not_relayed(start, fake):
    upstream = fake()
    server = start(upstream=[upstream])
    message = query("www.test")
    options = [dns.edns.ECSOption("198.51.100.0", 24), dns.edns.GenericOption(65001, b"secret")]
    message.use_edns(0, payload=1232, options=options)
    assert exchange(server.where, message.to_wire())
    relayed = {int(option.otype) for one in upstream.log for option in one.message.options}
    assert not relayed & {8, 65001}


def test_do_and_cd_are_carried_along(start, fake):
    upstream = fake()
    server = start(upstream=[upstream])
    server.ask("do.test", do=True)
    server.ask("cd.test", cd=True)
    seen = {one.name: one.message for one in upstream.log}
    assert seen["do.test"].ednsflags & dns.flags.DO
    assert seen["cd.test"].flags & dns.flags.CD


def test_a_server_that_leads_back_to_us_is_set_aside_and_we_live(start, fake):
    port = free_port("127.0.0.21")
    server = start(ZONE, upstream=[f"127.0.0.21:{port}", fake()], listen=(f"127.0.0.21:{port}",))
    server.logged(r"forwarding loop: this upstream server")
    assert server.ask("www.test").values == ["192.0.2.1"]
    assert server.ask("www.p.example").values == ["10.0.0.1"]


def test_alone_with_ourselves_as_upstream(start):
    port = free_port("127.0.0.22")
    server = start(ZONE, upstream=[f"127.0.0.22:{port}"], listen=(f"127.0.0.22:{port}",))
    server.logged(r"forwarding loop: this upstream server")
    answer = server.ask("www.test")
    assert answer.rcode == "SERVFAIL" and answer.ede and answer.elapsed < 4.5
    assert server.ask("www.p.example").values == ["10.0.0.1"]


def test_two_of_us_that_point_at_each_other(start):
    one, two = free_port("127.0.0.23"), free_port("127.0.0.24")
    first = start(ZONE, upstream=[f"127.0.0.24:{two}"], listen=(f"127.0.0.23:{one}",))
    second = start(ZONE, upstream=[f"127.0.0.23:{one}"], listen=(f"127.0.0.24:{two}",))
    second.logged(r"forwarding loop: this upstream server", patience=20)
    for server in (first, second):
        answer = server.ask("www.test")
        assert answer.rcode == "SERVFAIL" and answer.elapsed < 4.5
        assert server.ask("www.p.example").values == ["10.0.0.1"]


def test_a_client_is_answered_in_time_by_a_server_that_is_slow_but_alive(start, fake):
    def late(asked):
        time.sleep(1.2)
        return asked.response("@ 60 IN A 192.0.2.1")

    server = start(NO_STALE, upstream=[fake(late)])
    answer = server.ask("www.test")
    assert answer.values == ["192.0.2.1"] and answer.elapsed < 4


def test_a_flood_of_names_beyond_the_limit_fails_at_once_and_hits_go_on(start, fake):
    gate = threading.Event()

    def script(asked):
        if asked.name != "known.test":
            gate.wait(20)
        return asked.response("@ 60 IN A 192.0.2.1")

    server = start(f"[server]\nmax_in_flight = 10\n{ZONE}", upstream=[fake(script)])
    assert server.ask("known.test").values == ["192.0.2.1"]
    with ThreadPoolExecutor(40) as pool:
        flood = [pool.submit(server.ask, f"n{number}.test") for number in range(40)]
        until(lambda: sum(one.done() for one in flood) >= 30, "those beyond the limit are turned away")
        turned = [one.result() for one in flood if one.done()]
        assert all(answer.rcode == "SERVFAIL" and answer.elapsed < 2 for answer in turned[:30])
        assert server.ask("known.test").values == ["192.0.2.1"]
        assert server.ask("www.p.example").values == ["10.0.0.1"]
        gate.set()
    codes = collections.Counter(one.result().rcode for one in flood)
    assert set(codes) <= {"SERVFAIL", "NOERROR"} and codes["SERVFAIL"] >= 30


def test_a_slow_group_leaves_places_for_the_names_of_another(start, fake):
    gate = threading.Event()

    def slow(asked):
        gate.wait(20)
        return asked.response("@ 60 IN A 192.0.2.2")

    well, other = fake(lambda asked: asked.response("@ 60 IN A 192.0.2.1")), fake(slow)
    rule = f'[[forward]]\nzone = "slow.test"\nservers = ["{other.address}"]\n'
    server = start(f"[server]\nmax_in_flight = 12\n{ZONE}{rule}", upstream=[well])
    with ThreadPoolExecutor(40) as pool:
        flood = [pool.submit(server.ask, f"n{number}.slow.test") for number in range(40)]
        until(lambda: sum(one.done() for one in flood) >= 31, "those beyond the share are turned away")
        turned = [one.result() for one in flood if one.done()][:31]
        assert all(answer.rcode == "SERVFAIL" and answer.elapsed < 2 for answer in turned)
        for number in range(20):
            assert server.ask(f"new{number}.test").values == ["192.0.2.1"]
        gate.set()
