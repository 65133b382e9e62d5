"""Bounds on stream transports: what clients that read nothing, or hold places, may cost."""

import contextlib
import os
import resource
import socket
import threading
import time
from pathlib import Path

import pytest
from harness.ask import ask, connection, frame, query, receive
from harness.private import ZONE
from harness.wait import until

MEBIBYTE = 1 << 20
PROMISE = 64 * MEBIBYTE  # docs/reliability.md
LONG = ", ".join(f'"{number:03}{"x" * 250}"' for number in range(240))  # 64,000 octets of TXT
BIG = f'{ZONE}\n[[zone.record]]\nname = "big"\ntype = "TXT"\nvalue = [{LONG}]\n'


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
