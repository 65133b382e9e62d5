#!/usr/bin/env python3
"""How fast what is known is answered while no upstream is, and how soon new names resolve once one is back.

    cargo build --release && python3 benches/silence.py [stopped|gone]

Three kinds of names are asked for, 1,000 queries a second in turn: private ones, cached ones and expired ones. Beside
them 50 new names a second, which nobody can resolve. The upstream (nsd, from the distribution's packages) is `stopped`,
so that it keeps silent, or `gone`, so that its port is closed. Everything is on loopback, with the defaults of `[cache]`.
"""
import os
import selectors
import signal
import socket
import struct
import sys
import tempfile
import time

from growth import UPSTREAM, Server, ask, authority, head, one_zone, question, running, stop

SECONDS, WARM_UP, NAMES = 20, 8, 200
PACE, ONE_NEW_IN = 1050, 21
KNOWN = {"private": "r{}.one.example", "cached": "long{}.grow.test", "expired": "short{}.grow.test"}
KINDS = {**KNOWN, "new": "new{}.grow.test"}


def main():
    for death in sys.argv[1:] or ["stopped", "gone"]:
        with tempfile.TemporaryDirectory(prefix="pvtzd-silence-") as work:
            try:
                run(work, death)
            finally:
                for process in list(running):
                    signal_all(process.pid, signal.SIGKILL)
                    process.wait()
                running.clear()


def run(work, death):
    port = authority(work, "".join(f"short{n} 1 A 192.0.2.2\n" for n in range(NAMES)))
    nsd = running[-1]
    with open(f"{work}/conf", "w") as conf:
        conf.write(head(f'servers = ["{UPSTREAM}:{port}"]') + one_zone())
    server = Server(work, "r0.one.example", "0")
    address = ("127.0.0.1", server.port)
    for kind in KNOWN.values():
        for number in range(NAMES):
            while not ask(kind.format(number), address):
                pass
    time.sleep(1.1)  # the short-lived ones expire
    signal_all(nsd.pid, signal.SIGSTOP) if death == "stopped" else stop(nsd)
    load(address, WARM_UP, known=False)  # the upstream becomes known to be silent
    took, codes = load(address, SECONDS)
    print(f"\nupstream {death}")
    for kind, times in took.items():
        times = sorted(times)
        points = [times[int(len(times) * share)] * 1000 for share in (0.5, 0.99)]
        print(f"  {kind:8} {len(times):6} answers, {codes[kind]}: median {points[0]:.2f} ms, 99 % within {points[1]:.2f} ms, "
              f"slowest {times[-1] * 1000:.0f} ms")
    if death == "stopped":
        signal_all(nsd.pid, signal.SIGCONT)
    else:
        authority(work, "", port)
    back, number = time.monotonic(), 0
    while not ask(f"later{number}.grow.test", address):
        number += 1
    print(f"  a new name resolves {time.monotonic() - back:.2f} s after the upstream is back", flush=True)


def signal_all(pid, number):
    """To a process and all below it."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        for child in children.read().split():
            signal_all(int(child), number)
    os.kill(pid, number)


def load(address, seconds, known=True):
    """Asks at a steady pace, whatever is answered when; how long each kind's answers took, and their codes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, selectors.DefaultSelector() as ready:
        one.connect(address)
        one.setblocking(False)
        ready.register(one, selectors.EVENT_READ)
        took = {kind: [] for kind in KINDS}
        codes = {kind: {} for kind in KINDS}
        asked, sent, begun = {}, 0, time.monotonic()
        while (now := time.monotonic()) < begun + seconds + 4.5:
            if sent < seconds * PACE and now >= begun + sent / PACE:
                new, number = sent % ONE_NEW_IN == 0, sent
                sent += 1
                if new or known:
                    kind = "new" if new else list(KNOWN)[number % len(KNOWN)]
                    label = f"{seconds}-{number}" if new else number // len(KNOWN) % NAMES
                    one.send(question(KINDS[kind].format(label), number))
                    asked[number] = (kind, time.monotonic())
            if not ready.select(max(0, min(begun + sent / PACE - time.monotonic(), 0.01))):
                continue
            reply = one.recv(4096)
            kind, at = asked.pop(struct.unpack(">H", reply[:2])[0])
            took[kind].append(time.monotonic() - at)
            code = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN"}.get(reply[3] & 15, str(reply[3] & 15))
            codes[kind][code] = codes[kind].get(code, 0) + 1
        if asked:
            print(f"  {len(asked)} unanswered")
        return took, {kind: ", ".join(f"{count} {code}" for code, count in one.items()) for kind, one in codes.items()}


if __name__ == "__main__":
    main()
