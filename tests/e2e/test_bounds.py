"""Bounds on stream transports: what clients that read nothing, or hold places, may cost."""

import contextlib
import fcntl
import os
import resource
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from harness import http2, quic
from harness.ask import ask, connection, frame, query, receive
from harness.encrypted import listener, port
from harness.private import ZONE
from harness.process import http3_build
from harness.wait import until

MEBIBYTE = 1 << 20
PROMISE = 64 * MEBIBYTE  # docs/reliability.md
LONG = ", ".join(f'"{number:03}{"x" * 250}"' for number in range(240))  # 64,000 octets of TXT
BIG = f'{ZONE}\n[[zone.record]]\nname = "big"\ntype = "TXT"\nvalue = [{LONG}]\n'


HTTP3 = http3_build()
http3_only = pytest.param("HTTP/3", marks=pytest.mark.skipif(not HTTP3, reason="no program with HTTP/3: PVTZD_HTTP3"))
STATES = {
    "nothing": b"",
    "half a length": b"\0",
    "half a message": frame(query("www.p.example").to_wire())[:20],
    "before the answer": frame(query("slow.test").to_wire()),
    "in the answer": frame(query("big.p.example", "TXT").to_wire()) * 100,
    "an answer and half a message": frame(query("www.p.example").to_wire()) + b"\1\2\3",
}


def resident(server):
    """Octets of memory."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def peak(server):
    """The most memory that was seen meanwhile; another client is served all the while."""
    seen, done = [resident(server)], threading.Event()

    def look():
        while not done.wait(0.02):
            seen.append(resident(server))

    def others():
        while not done.wait(0.1):
            assert server.ask("www.p.example").values == ["10.0.0.1"]
            assert server.ask("www.p.example", tcp=True).values == ["10.0.0.1"]

    failed = []

    def guarded():
        try:
            others()
        except BaseException as error:  # noqa: BLE001: told to the test
            failed.append(error)

    threads = [threading.Thread(target=work) for work in (look, guarded)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failed, failed


def send_what_fits(sock, packet, rounds=50):
    """Sends until the server reads no more, or has closed."""
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        for _ in range(rounds):
            sock.send(packet)


@pytest.mark.parametrize("count", [64, 512])
def test_clients_that_read_nothing_cost_little_and_leave_nothing(start, count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    server = start(BIG)
    assert len(ask(server.where, "big.p.example", "TXT", tcp=True).values) == 240
    before = resident(server)
    packet = frame(query("big.p.example", "TXT").to_wire()) * 100
    with contextlib.ExitStack() as stack, peak(server) as seen:
        hostile = [stack.enter_context(connection(server.where)) for _ in range(count)]
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline:
            for sock in hostile:
                send_what_fits(sock, packet, 1)
    print(f"peak {max(seen) / MEBIBYTE:.1f} MiB, before {before / MEBIBYTE:.1f}")
    assert max(seen) < PROMISE
    until(lambda: resident(server) < before + 16 * MEBIBYTE, "memory is given back", 10)


def test_a_client_that_reads_loses_nothing(start):
    server = start(ZONE)
    message = query("www.p.example").to_wire()
    with connection(server.where) as sock:
        packets = b"".join(frame(struct.pack("!H", number) + message[2:]) for number in range(10_000))
        sender = threading.Thread(target=sock.sendall, args=(packets,))
        sender.start()
        left = set(range(10_000))
        while left:
            left.remove(receive(sock).message.id)
        sender.join()


def test_a_client_that_reads_late_gets_long_answers_too(start):
    server = start(BIG)
    with connection(server.where) as sock:
        packet = frame(query("big.p.example", "TXT").to_wire())
        sender = threading.Thread(target=sock.sendall, args=(packet * 200,))
        sender.start()
        until(lambda: is_full(sock), "the answers do not fit into what the kernel keeps for us")
        for _ in range(200):
            assert len(receive(sock).values) == 240
        sender.join()


def is_full(sock):
    """True once octets wait to be read, and no more come."""
    before = pending(sock)
    time.sleep(0.05)
    return before > 65_536 and pending(sock) == before


def pending(sock):
    """Octets that wait to be read."""
    return int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_clients_that_read_nothing_over_tls(start, certificate):
    files = certificate()
    server = start(listener(files, "tls") + BIG)
    context = ssl.create_default_context(cafile=str(files[0]))
    packet = frame(query("big.p.example", "TXT").to_wire()) * 50

    def attack(stack):
        for _ in range(128):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port(server, "TLS")), 6))
            with contextlib.suppress(OSError):
                yield stack.enter_context(context.wrap_socket(sock, server_hostname="dns.example")), packet

    hold(server, attack)


def test_requests_without_a_body_over_https(start, certificate):
    files = certificate()
    server = start(listener(files, "https") + ZONE)
    # one entry of the header table, then 480 references to it
    more = http2.literal(b"x", b"y", indexed=True) + b"\xbe" * 480
    streams = b"".join(http2.post(2 * number + 1, more) for number in range(100))

    def attack(stack):
        for _ in range(256):
            with contextlib.suppress(OSError):
                sock = stack.enter_context(http2.connection(port(server, "HTTPS"), files[0]))
                sock.sendall(streams)
                yield sock, http2.frame(http2.PING, payload=bytes(8))

    hold(server, attack)


def test_windows_of_nothing_over_https(start, certificate):
    files = certificate()
    server = start(listener(files, "https") + BIG)
    message = query("big.p.example", "TXT").to_wire()
    streams = b"".join(http2.get(2 * number + 1, message) for number in range(100))

    def attack(stack):
        for _ in range(128):
            with contextlib.suppress(OSError):
                first = http2.settings(initial_window_size=0)
                sock = stack.enter_context(http2.connection(port(server, "HTTPS"), files[0], first))
                sock.sendall(streams)
                yield sock, http2.frame(http2.PING, payload=bytes(8))

    hold(server, attack)


@pytest.mark.parametrize("protocol", ["QUIC", "HTTP/3"])
def test_windows_of_nothing_over_quic(other_build, start, certificate, protocol):
    files = certificate()
    server = start(listener(files, "quic", "http3") + BIG)
    message = bytes(2) + query("big.p.example", "TXT").to_wire()[2:]
    before = resident(server)
    with peak(server) as seen:
        answered = quic.unread(port(server, protocol), files[0], message, connections=64, over_http3=protocol == "HTTP/3")
    print(f"peak {max(seen) / MEBIBYTE:.1f} MiB, before {before / MEBIBYTE:.1f}; {answered}")
    assert max(seen) < PROMISE
    until(lambda: resident(server) < before + 16 * MEBIBYTE, "memory is given back", 10)


def test_frames_without_end_over_http3(other_build, start, certificate):
    files = certificate()
    server = start(listener(files, "http3") + ZONE)
    before = resident(server)
    with peak(server) as seen:
        quic.endless(port(server, "HTTP/3"), files[0], connections=16)
    print(f"peak {max(seen) / MEBIBYTE:.1f} MiB, before {before / MEBIBYTE:.1f}")
    assert max(seen) < PROMISE


@pytest.mark.parametrize("protocol", ["QUIC", "HTTP/3"])
def test_pings_keep_no_quic_connection(other_build, start, certificate, protocol):
    files = certificate()
    server = start('[server]\ntcp_idle = "1s"\n' + listener(files, "quic", "http3").removeprefix("[server]\n") + ZONE)
    assert quic.closed_while_pinging(port(server, protocol), files[0], "h3" if protocol == "HTTP/3" else "doq")


def test_pings_keep_no_https_connection(start, certificate):
    files = certificate()
    server = start('[server]\ntcp_idle = "1s"\n' + listener(files, "https").removeprefix("[server]\n") + ZONE)
    with http2.connection(port(server, "HTTPS"), files[0], patience=0.3) as sock:
        deadline = time.monotonic() + 15
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                sock.sendall(http2.frame(http2.PING, payload=bytes(8)))
                with contextlib.suppress(TimeoutError):
                    if not sock.recv(65536):
                        break
        assert time.monotonic() < deadline, "the connection is still open"


def hold(server, attack):
    """Has clients ask and read nothing for 12 s; what they were given comes back."""
    before = resident(server)
    with contextlib.ExitStack() as stack, peak(server) as seen:
        hostile = list(attack(stack))
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline:
            for sock, packet in hostile:
                send_what_fits(sock, packet, 1)
            time.sleep(0.05)
    print(f"peak {max(seen) / MEBIBYTE:.1f} MiB, before {before / MEBIBYTE:.1f}, {len(hostile)} connections")
    assert max(seen) < PROMISE
    until(lambda: resident(server) < before + 16 * MEBIBYTE, "memory is given back", 10)


def places_come_back(server):
    """Waits until no connection is left: descriptors as at start."""
    until(lambda: server.file_descriptors() <= server.at_rest + 1, "all connections are gone", 12)
    assert server.ask("www.p.example", tcp=True).values == ["10.0.0.1"]


def reset(sock):
    """Ends a connection by RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@pytest.fixture
def slow(start, fake, certificate, monkeypatch):
    """A server with all listeners, whose upstream answers nothing below slow.test for a while."""
    files = certificate()
    if HTTP3:
        monkeypatch.setenv("PVTZD", HTTP3)
    secured = listener(files, "tls", "https", "quic", *(["http3"] if HTTP3 else []))

    def script(asked):
        gate.wait(1)
        return asked.response("@ 60 IN A 192.0.2.7")

    gate = threading.Event()
    server = start(secured + BIG, upstream=[fake(script)])
    server.files, server.at_rest = files, server.file_descriptors()
    return server


@pytest.mark.parametrize("ends", [reset, socket.socket.close], ids=["reset", "close"])
def test_clients_that_go_in_each_state_over_tcp_and_tls(slow, ends):
    context = ssl.create_default_context(cafile=str(slow.files[0]))
    for _ in range(5):
        for octets in STATES.values():
            plain = socket.create_connection(slow.where, 6)
            plain.sendall(octets)
            ends(plain)
            inner = socket.create_connection(("127.0.0.1", port(slow, "TLS")), 6)
            sock = context.wrap_socket(inner, server_hostname="dns.example")
            sock.sendall(octets)
            ends(sock)
        for octets in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):  # in the handshake
            inner = socket.create_connection(("127.0.0.1", port(slow, "TLS")), 6)
            inner.sendall(octets)
            ends(inner)
    places_come_back(slow)


def test_clients_that_go_in_each_state_over_https(slow):
    www, late, big = (query(*words).to_wire() for words in (("www.p.example",), ("slow.test",), ("big.p.example", "TXT")))
    post = http2.post(1)
    none = http2.settings(initial_window_size=0)
    states = [
        (b"", b""),
        (b"", http2.get(1, www)[:20]),  # in the headers
        (b"", post),  # before the body
        (b"", post + http2.frame(http2.DATA, 0, 1, www[:5])),  # in the body
        (b"", http2.get(1, late)),  # before the answer
        (none, http2.get(1, big)),  # in the answer
        (none, http2.get(1, big) + http2.frame(http2.RST_STREAM, 0, 1, bytes(4))),  # of the stream alone
        (b"", post + http2.frame(http2.RST_STREAM, 0, 1, bytes(4))),
        (b"", http2.get(1, late) + http2.frame(http2.GOAWAY, payload=bytes(8))),
    ]
    for _ in range(5):
        for first, octets in states:
            with http2.connection(port(slow, "HTTPS"), slow.files[0], first) as sock:
                sock.sendall(octets)
                reset(sock)
    places_come_back(slow)


@pytest.mark.parametrize("protocol", ["QUIC", http3_only])
def test_clients_that_go_in_each_state_over_quic(slow, protocol):
    messages = [query(*words).to_wire()[2:] for words in (("www.p.example",), ("slow.test",), ("big.p.example", "TXT"))]
    quic.leave_in_each_state(port(slow, protocol), slow.files[0], [bytes(2) + rest for rest in messages], protocol)
    until(lambda: quic.answers(port(slow, "QUIC"), slow.files[0], bytes(2) + messages[0]), "it serves on")
    assert slow.ask("www.p.example", tcp=True).values == ["10.0.0.1"]


def test_strangers_have_no_place_on_any_transport(slow):
    slow.reload(slow.config_file.read_text().replace("[server]\n", '[server]\nallow = ["127.0.0.2"]\n'))
    many = [socket.create_connection(slow.where, 6) for _ in range(200)]
    for sock in many:
        assert sock.recv(1) == b""
    for protocol in ("TLS", "HTTPS"):
        with socket.create_connection(("127.0.0.1", port(slow, protocol)), 6) as sock:
            assert sock.recv(1) == b"", "closed before the handshake"
    assert not quic.answers(port(slow, "QUIC"), slow.files[0], bytes(32), patience=1)
    assert ask(slow.where, "www.p.example", source="127.0.0.2", tcp=True).values == ["10.0.0.1"]
