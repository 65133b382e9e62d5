"""Data that no library knows, or that is not what its type wants, passes through as it came (RFC 3597)."""

import socket
import struct

import pytest
from harness.ask import query

QUESTION = b"\xc0\x0c"


def reply_with(answers, additional=()):
    """A script whose answers and additional records are (type, data)."""

    def script(asked):
        end = asked.packet.index(b"\0", 12) + 5
        head = asked.packet[:2] + struct.pack("!HHHHH", 0x8180, 1, len(answers), 0, len(additional))
        record = lambda rtype, data: QUESTION + struct.pack("!HHIH", rtype, 1, 60, len(data)) + data
        return head + asked.packet[12:end] + b"".join(record(*one) for one in [*answers, *additional])

    return script


def data_of(reply):
    """Type and data of the records behind the question, OPT excepted."""
    at = reply.index(b"\0", 12) + 5
    found = []
    for _ in range(sum(struct.unpack("!HHH", reply[6:12]))):
        at += 2 if reply[at] >= 192 else 1  # owners are pointers, that of OPT is the root
        rtype, _, _, length = struct.unpack("!HHIH", reply[at : at + 10])
        found.append((rtype, reply[at + 10 : at + 10 + length]))
        at += 10 + length
    return [one for one in found if one[0] != 41]


OPAQUE = [
    (1000, b""),
    (65280, b""),
    (10, b""),
    (42, b""),
    (65305, b"\x01\x02"),
    (62, bytes.fromhex("00000001ffff000140")),
    (24, b"\0\1\x08\x02"),
    (65, bytes.fromhex("000100000100 0302fffe".replace(" ", ""))),
    (64, b"\0"),
    (61, b""),
    (257, b"\0\xc8x"),
    (52, b"\x09"),
    (35, b"\0\1\0\1\xc8"),
    (29, b"\7\7"),
    (43, b"\1"),
    (16, b"\xc8x"),
    (13, b"\3c"),
    (33, b""),
]


@pytest.mark.parametrize("flags", [{}, {"do": True}], ids=["plain", "do"])
def test_data_of_any_type_passes_through(start, fake, flags):
    upstream = fake(None)
    server = start(upstream=[upstream])
    for rtype, data in OPAQUE:
        upstream.script = reply_with([(rtype, data)], additional=[(rtype, data), (1, b"\1")])
        for _ in range(2):  # as it comes, and out of the cache
            packet = query(f"t{rtype}.test", rtype, **flags).to_wire()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(6)
                sock.sendto(packet, ("127.0.0.1", server.port))
                reply = sock.recv(4096)
            assert reply[3] & 15 == 0 and data_of(reply) == [(rtype, data)], (rtype, reply)


def test_an_address_of_a_wrong_length_costs_itself(start, fake):
    good = (1, bytes([192, 0, 2, 1]))
    upstream = fake(reply_with([(1, b"\1\2\3"), good, (1, bytes(5))]))
    server = start(upstream=[upstream, fake()])
    assert server.ask("www.test").values == ["192.0.2.1"]
    # where nothing is left the next server is asked: it is no denial
    upstream.script = reply_with([(1, b"\1\2\3")])
    assert server.ask("other.test").values == ["192.0.2.1"]
