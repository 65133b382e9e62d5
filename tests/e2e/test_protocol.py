"""The protocol seen from outside: sizes, flags, codes, and what is not a good query."""

import random
import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest
from harness.ask import Answer, connection, dig, exchange, frame, query, receive

ZONE = """
[[zone]]
name = "p.example"
[[zone.record]]
name = "www"
type = "A"
value = "10.0.0.1"
[[zone.record]]
name = "@"
type = "CNAME"
value = "www.p.example"
"""
BIG = (
    ZONE
    + """
[[zone.record]]
name = "big"
type = "A"
value = [%s]
"""
    % ", ".join(f'"10.1.{n // 200}.{n % 200}"' for n in range(200))
)


@pytest.fixture
def server(start):
    return start(ZONE)


def code(packet):
    """The response code in a raw answer, `drop` for none."""
    return "drop" if packet is None else dns.rcode.to_text(dns.rcode.Rcode(packet[3] & 0x0F))


def alive(server):
    return server.ask("www.p.example").values == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ({"edns": False}, 512),
        ({"payload": 100}, 512),
        ({"payload": 512}, 512),
        ({"payload": 900}, 900),
        ({"payload": 1232}, 1232),
        ({"payload": 4096}, 1232),
    ],
)
def test_answers_over_udp_keep_to_the_client_s_size(start, kind, limit):
    server = start(BIG)
    packet = exchange(server.where, query("big.p.example", **kind).to_wire())
    answer = Answer(dns.message.from_wire(packet))
    assert limit - 16 <= len(packet) <= limit
    assert "tc" in answer.flags and answer.rcode == "NOERROR"
    assert answer.records, "what fits is sent along"


def test_dig_comes_back_over_tcp_and_gets_everything(start):
    server = start(BIG)
    dug = dig(server.where, "big.p.example")
    assert len(dug.answer) == 200 and "retrying in TCP mode" in dug.text


def test_a_forwarded_answer_is_cut_for_one_client_and_whole_for_the_next(start, authority):
    server = start(upstream=[authority])
    assert "tc" in server.ask("big.test").flags
    assert len(server.ask("big.test", tcp=True).records) == 100
    small = server.ask("big.test", edns=False)
    assert "tc" in small.flags
    assert len(server.ask("big.test", tcp=True, edns=False).records) == 100


def test_edns_is_answered_with_edns_and_only_then(server):
    plain = server.ask("www.p.example", edns=False).message
    assert plain.edns == -1
    with_edns = server.ask("www.p.example").message
    assert (with_edns.edns, with_edns.payload) == (0, 1232)


def test_do_is_echoed(server):
    assert server.ask("www.p.example", do=True).message.ednsflags & dns.flags.DO
    assert not server.ask("www.p.example", do=False).message.ednsflags & dns.flags.DO


def test_unknown_options_are_ignored_and_not_echoed(server):
    message = query("www.p.example")
    options = [dns.edns.GenericOption(65001, b"abc"), dns.edns.GenericOption(3, b"")]
    message.use_edns(0, payload=1232, options=options)
    answer = dns.message.from_wire(exchange(server.where, message.to_wire()))
    assert answer.rcode() == dns.rcode.NOERROR and answer.options == ()


def test_a_newer_edns_version_is_badvers(server):
    message = query("www.p.example")
    message.use_edns(1, payload=1232)
    answer = dns.message.from_wire(exchange(server.where, message.to_wire()))
    assert answer.rcode() == dns.rcode.BADVERS and answer.edns == 0


def test_flags(server):
    answer = server.ask("www.p.example")
    assert answer.flags == {"qr", "aa", "rd", "ra"}
    assert server.ask("www.p.example", rd=False).flags == {"qr", "aa", "ra"}
    assert "cd" in server.ask("www.p.example", cd=True).flags


def test_id_and_case_come_back(server):
    message = query("wWw.P.eXample")
    answer = dns.message.from_wire(exchange(server.where, message.to_wire()))
    assert answer.id == message.id
    assert answer.question[0].name.to_text() == "wWw.P.eXample."
    assert answer.answer[0].name.to_text() == "wWw.P.eXample."


def test_extended_errors_tell_why(start):
    server = start(ZONE)
    failed = server.ask("www.test")
    assert (failed.rcode, failed.ede) == ("SERVFAIL", [22])
    chaos = server.ask("version.bind", "TXT", rclass="CH")
    assert (chaos.rcode, chaos.ede) == ("REFUSED", [21])
    unasked = server.ask("www.test", rd=False)
    assert (unasked.rcode, unasked.ede) == ("REFUSED", [20])
    assert all(answer.ede_text for answer in (failed, chaos, unasked))


@pytest.mark.parametrize("opcode", [dns.opcode.IQUERY, dns.opcode.STATUS, 3, dns.opcode.NOTIFY, dns.opcode.UPDATE, 15])
def test_other_opcodes_are_not_implemented(server, opcode):
    packet = bytearray(query("www.p.example").to_wire())
    packet[2] = (packet[2] & 0x87) | (opcode << 3)
    answer = exchange(server.where, bytes(packet))
    assert code(answer) == "NOTIMP"
    assert answer[:2] == packet[:2] and (answer[2] >> 3) & 15 == opcode and answer[2] & 0x80
    assert alive(server)


@pytest.mark.parametrize("rtype", ["AXFR", "IXFR"])
def test_transfers_are_refused(server, rtype):
    for carry in (exchange, over_tcp):
        answer = carry(server.where, query("p.example", rtype).to_wire())
        assert code(answer) == "REFUSED"
    assert alive(server)


def over_tcp(where, packet):
    with connection(where) as sock:
        sock.sendall(frame(packet))
        answer = receive(sock)
        return None if answer is None else answer.message.to_wire()


def test_any_gets_a_hint(start, fake):
    upstream = fake()
    server = start(ZONE, upstream=[upstream])
    private = server.ask("www.p.example", "ANY")
    assert private.records == ['www.p.example HINFO "RFC8482" ""']
    assert server.ask("www.test", "ANY").values == ['"RFC8482" ""']
    assert upstream.questions() == [], "never forwarded"


def test_classes_other_than_in_are_refused(server):
    for rclass in ("CH", "HS", "ANY"):
        assert server.ask("www.p.example", rclass=rclass).rcode == "REFUSED"


def test_version_bind_is_answered_where_it_is_switched_on(start):
    server = start("[server]\nversion_bind = true\n")
    dug = dig(server.where, "CH", "TXT", "version.bind")
    assert "pvtzd" in dug.answer[0]
    assert server.ask("id.server", "TXT", rclass="CH").rcode == "REFUSED"


def test_without_rd_nothing_is_forwarded(start, fake):
    upstream = fake()
    server = start(ZONE, upstream=[upstream])
    assert server.ask("www.p.example", rd=False).values == ["10.0.0.1"]
    assert server.ask("www.test", rd=False).rcode == "REFUSED"
    assert upstream.questions() == []
    assert server.ask("www.test").values == ["192.0.2.1"]
    assert server.ask("www.test", rd=False).values == ["192.0.2.1"], "out of the cache"
    assert upstream.count() == 1


def test_clients_outside_the_allow_list_are_refused(start):
    server = start(f'[server]\nallow = ["127.0.0.0/16", "127.7.7.7"]\n{ZONE}')
    assert server.ask("www.p.example").rcode == "NOERROR"
    assert server.ask("www.p.example", source="127.7.7.7").rcode == "NOERROR"
    refused = server.ask("www.p.example", source="127.1.0.1")
    assert (refused.rcode, refused.records, refused.ede) == ("REFUSED", [], [18])
    with connection(server.where, source="127.1.0.1") as stranger:
        assert stranger.recv(1) == b"", "over TCP the connection is closed"
    assert server.ask("www.p.example", source="127.7.7.7", tcp=True).rcode == "NOERROR"
    assert server.ask("www.p.example", source="127.7.7.8").rcode == "REFUSED"


HEADER = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0)
QUESTION = b"\x03www\x01p\x07example\0\0\x01\0\x01"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def counts(questions=1, answers=0, authorities=0, additionals=0, flags=0x0100):
    return struct.pack("!6H", 0x1234, flags, questions, answers, authorities, additionals)


LONG_NAME = b"".join(bytes([63]) + b"a" * 63 for _ in range(4)) + b"\0"  # 257 octets
LONGEST_NAME = b"".join(bytes([63]) + b"a" * 63 for _ in range(3)) + bytes([61]) + b"a" * 61 + b"\0"  # 255

MALFORMED = {
    "nothing": (b"", "drop"),
    "one octet": (b"\x12", "drop"),
    "half a header": (HEADER[:7], "drop"),
    "a header cut by one": (HEADER[:11], "drop"),
    "an answer": (counts(flags=0x8180) + QUESTION, "drop"),
    "an answer to nothing": (counts(0, flags=0x8000), "drop"),
    "a header alone that promises a question": (HEADER, "FORMERR"),
    "no question": (counts(0), "FORMERR"),
    "two questions": (counts(2) + QUESTION + QUESTION, "FORMERR"),
    "65535 questions": (counts(65535) + QUESTION, "FORMERR"),
    "a question cut in its name": (HEADER + QUESTION[:6], "FORMERR"),
    "a question cut in its type": (HEADER + QUESTION[:-3], "FORMERR"),
    "a question cut in its class": (HEADER + QUESTION[:-1], "FORMERR"),
    "a name that points at itself": (HEADER + b"\xc0\x0c\0\x01\0\x01", "FORMERR"),
    "a name that points ahead": (HEADER + b"\xc0\x20\0\x01\0\x01" + QUESTION, "FORMERR"),
    "two names that point at each other": (HEADER + b"\x01a\xc0\x10\xc0\x0c\0\x01\0\x01", "FORMERR"),
    "half a pointer": (HEADER + b"\xc0", "FORMERR"),
    "a label of 64": (HEADER + b"\x40" + b"a" * 64 + b"\0\0\x01\0\x01", "FORMERR"),
    "a label of 191": (HEADER + b"\xbf" + b"a" * 191 + b"\0\0\x01\0\x01", "FORMERR"),
    "a name of 257": (HEADER + LONG_NAME + b"\0\x01\0\x01", "FORMERR"),
    "a name without an end": (HEADER + b"\x01a" * 200, "FORMERR"),
    "an answer record": (counts(answers=1) + QUESTION + b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x01\x02\x03\x04", "FORMERR"),
    "an authority record": (counts(authorities=1) + QUESTION + OPT, "FORMERR"),
    "a promised record that is not there": (counts(additionals=1) + QUESTION, "FORMERR"),
    "two OPTs": (counts(additionals=2) + QUESTION + OPT + OPT, "FORMERR"),
    "an OPT cut short": (counts(additionals=1) + QUESTION + OPT[:-1], "FORMERR"),
    "an OPT longer than the packet": (counts(additionals=1) + QUESTION + OPT[:-2] + b"\xff\xff", "FORMERR"),
    "an option longer than its OPT": (
        counts(additionals=1) + QUESTION + OPT[:-2] + b"\0\x04\0\x0a\0\x08",
        "FORMERR",
    ),
    "an OPT below a name": (counts(additionals=1) + QUESTION + b"\x01a" + OPT, "FORMERR"),
    "an OPT whose name points into the header": (counts(additionals=1) + QUESTION + b"\xc0\x00" + OPT[1:], "FORMERR"),
    "one trailing octet": (HEADER + QUESTION + b"\0", "FORMERR"),
    "many trailing octets": (HEADER + QUESTION + b"\xff" * 400, "FORMERR"),
    "all ones": (b"\xff" * 64, "drop"),
    "all zeros": (b"\0" * 64, "FORMERR"),
    "text": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "NOTIMP"),
    "the longest datagram": (HEADER + QUESTION + b"\0" * 60000, "FORMERR"),
    "a type that no record has": (HEADER + QUESTION[:-4] + b"\0\x29\0\x01", "REFUSED"),
    "the root": (HEADER + b"\0\0\x01\0\x01", "SERVFAIL"),
    "a name of 255": (HEADER + LONGEST_NAME + b"\0\x01\0\x01", "SERVFAIL"),
    "a name with odd octets": (HEADER + b"\x04\0\xff. \x01p\x07example\0\0\x01\0\x01", "NXDOMAIN"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_packets_are_turned_away_and_the_server_lives(server, what):
    packet, expected = MALFORMED[what]
    # where nothing is to come, a short wait is enough: the good query below comes after it and is answered
    answer = exchange(server.where, packet, patience=0.15 if expected == "drop" else 6)
    assert code(answer) == expected
    if answer is not None:
        assert answer[:2] == packet[:2] and answer[2] & 0x80
        dns.message.from_wire(answer)
    assert alive(server)


@pytest.mark.parametrize("what", [key for key, (packet, _) in MALFORMED.items() if packet])
def test_malformed_messages_over_tcp_do_not_end_the_connection(server, what):
    packet, expected = MALFORMED[what]
    with connection(server.where) as sock:
        good = query("www.p.example").to_wire()
        sock.sendall(frame(packet) + frame(good))
        number = 2 if expected in ("FORMERR", "REFUSED", "SERVFAIL", "NXDOMAIN", "NOTIMP") else 1
        answers = [receive(sock) for _ in range(number)]
        assert ["10.0.0.1"] in [answer.values for answer in answers]
        if number == 2:
            assert sorted(answer.rcode for answer in answers) == sorted([expected, "NOERROR"])
    assert alive(server)


def test_random_octets_never_hurt(server):
    dice = random.Random(1)
    base = bytearray(counts(additionals=1) + QUESTION + OPT)
    for _ in range(2000):
        packet = bytearray(base)
        for _ in range(dice.randrange(1, 6)):
            packet[dice.randrange(len(packet))] = dice.randrange(256)
        packet = bytes(packet[: dice.randrange(1, len(packet) + 1)])
        exchange(server.where, packet, patience=0.0005)
    assert alive(server)
    assert "panic" not in server.log
