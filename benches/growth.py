#!/usr/bin/env python3
"""How the cost of a query grows: with zones, cached names, clients and cores.

    cargo build --release && python3 benches/growth.py [zones cache clients cores]

Prints a table for each: CPU microseconds of the server per query answered, and its resident memory. The server runs on
CPU 0, dnsperf (the load) and nsd (an upstream for the cache) on CPU 1 (`cores`: both on each); both come from the
distribution's packages. Everything is on loopback, and all that is started is stopped.
"""
import os
import random
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

SERVER = os.environ.get("SERVER", os.path.join(os.path.dirname(__file__), "..", "target", "release", "pvtzd"))
SECONDS, ROUNDS = 3, 3
OUTSTANDING = 100           # fits the kernel's default socket buffer
UPSTREAM = "127.0.0.2"
running = []


def main():
    wanted = sys.argv[1:] or ["zones", "cache", "clients", "cores"]
    work = tempfile.mkdtemp(prefix="pvtzd-growth-")
    try:
        for name in wanted:
            CURVES[name](work)
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)


# ---------------------------------------------------------------- the curves

def zones(work):
    table("zones of 10 records", "start, ms")
    for count in (10, 1_000, 100_000):
        with open(os.path.join(work, "conf"), "w") as conf:
            conf.write(head("servers = []"))
            for zone in range(count):
                conf.write(f'[[zone]]\nname = "z{zone}.example"\n')
                for record in range(10):
                    conf.write(f'[[zone.record]]\nname = "r{record}"\ntype = "A"\nvalue = "10.0.0.{record}"\n')
        names = [f"r{n % 10}.z{n // 10}.example" for n in range(count * 10)]
        server = Server(work, "r0.z0.example")
        queries = jumbled(work, names)
        for what, passes in (("first time", 1), ("again", 0)):
            # all names that there are, once; or as many as come up in the time
            row(f"{count:,} ({what})", server, lambda: load(server, queries, passes and len(names)), f"{server.start_ms:,.0f}",
                rounds=1 if passes else ROUNDS)
        server.stop()


def cache(work):
    table("cached names")
    port = authority(work)
    for count in (1_000, 10_000, 100_000, 1_000_000):
        with open(os.path.join(work, "conf"), "w") as conf:
            conf.write(head(f'servers = ["{UPSTREAM}:{port}"]', cache="2GiB"))
        server = Server(work, "warm.grow.test")
        queries = jumbled(work, [f"n{n}.grow.test" for n in range(count)])
        row(f"{count:,} (forwarded)", server, lambda: load(server, queries, count), rounds=1)
        load(server, queries, count)  # so that each has its finished answer
        row(f"{count:,} (cached)", server, lambda: load(server, queries))
        server.stop()


def clients(work):
    table("client sockets")
    with open(os.path.join(work, "conf"), "w") as conf:
        conf.write(head("servers = []") + one_zone())
    server = Server(work, "r0.one.example")
    queries = jumbled(work, [f"r{n}.one.example" for n in range(1_000)])
    for count in (1, 10, 100, 1_000, 10_000):
        row(f"{count:,}", server, lambda: load(server, queries, clients=count))
    server.stop()


def cores(work):
    """Each core carries a dnsperf of its own beside the server, so that the load grows with the cores as well. A server for
    each core, which share nothing, show what a second core is worth on this machine."""
    table("cores", "queries/s")
    queries = jumbled(work, [f"r{n}.one.example" for n in range(1_000)])
    for what, servers in (("1", ["0"]), ("2", ["0,1"]), ("2, a server each", ["0", "1"])):
        started = []
        for cpus in servers:
            with open(os.path.join(work, "conf"), "w") as conf:
                conf.write(head("servers = []") + one_zone())
            started.append(Server(work, "r0.one.example", cpus))
        loads = [(server, cpu) for server, cpus in zip(started, servers) for cpu in cpus.split(",")]

        def run():
            with ThreadPoolExecutor() as pool:
                parts = list(pool.map(lambda one: load(one[0], queries, clients=64, cpu=one[1]), loads))
            return {key: sum(part[key] for part in parts) for key in parts[0]}
        row(what, Together(started), run, rate=True)
        for server in started:
            server.stop()


CURVES = {"zones": zones, "cache": cache, "clients": clients, "cores": cores}


# ---------------------------------------------------------------- the parts

def head(upstream, cache="256MiB"):
    return (f'[server]\nlisten = ["127.0.0.1:%PORT%"]\n[endpoints]\nproducts = []\n'
            f'[upstream]\n{upstream}\n[cache]\nsize = "{cache}"\n')


def one_zone():
    records = "".join(f'[[zone.record]]\nname = "r{n}"\ntype = "A"\nvalue = "10.0.0.1"\n' for n in range(1_000))
    return '[[zone]]\nname = "one.example"\n' + records


class Server:
    """The server under test, from its start to its first answer and on."""

    def __init__(self, work, name, cpus="0"):
        self.port = free_port("127.0.0.1")
        path = os.path.join(work, "conf")
        with open(path) as conf:
            text = conf.read().replace("%PORT%", str(self.port))
        with open(path, "w") as conf:
            conf.write(text)
        begun = time.monotonic()
        self.process = start(["taskset", "-c", cpus, SERVER, "--config", path, "--metadata", "off"], work)
        while not ask(name, ("127.0.0.1", self.port)):
            if self.process.poll() is not None or time.monotonic() > begun + 300:
                raise SystemExit("the server does not answer: " + open(os.path.join(work, "log")).read()[-2000:])
        self.start_ms = (time.monotonic() - begun) * 1000

    def cpu(self):
        """Seconds that its threads have run, by the scheduler's fine clock."""
        tasks = f"/proc/{self.process.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks)) / 1e9

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024

    def stop(self):
        stop(self.process)


class Together:
    """Servers as one."""

    def __init__(self, servers):
        self.servers = servers

    def cpu(self):
        return sum(server.cpu() for server in self.servers)

    def rss(self):
        return sum(server.rss() for server in self.servers)


def table(what, *more):
    print(f"\n| {what} | CPU µs per query | RSS MiB |" + "".join(f" {one} |" for one in more))
    print("| --- | --- | --- |" + " --- |" * len(more), flush=True)


def row(what, server, run, *more, rounds=ROUNDS, rate=False):
    costs, rates, lost = [], [], 0
    for _ in range(rounds):
        before = server.cpu()
        got = run()
        costs.append((server.cpu() - before) / max(got["answered"], 1) * 1e6)
        rates.append(got["rate"])
        lost += got["lost"]
    spread = f" ({min(costs):.2f}-{max(costs):.2f})" if rounds > 1 else ""
    more = list(more) + ([f"{statistics.median(rates):,.0f}"] if rate else [])
    note = f", {lost} lost" if lost else ""
    cells = [what, f"{statistics.median(costs):.2f}{spread}{note}", f"{server.rss():.1f}", *more]
    print("| " + " | ".join(cells) + " |", flush=True)


def load(server, queries, count=0, clients=1, cpu="1"):
    """Asks, at most `OUTSTANDING` at a time: `count` queries, or for some seconds."""
    amount = ["-n", "1"] if count else ["-l", str(SECONDS)]
    argv = ["taskset", "-c", cpu, "dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", queries, "-q", str(OUTSTANDING),
            "-c", str(clients), "-T", "1", "-t", "2", *amount]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def number(label):
        found = re.search(label + r":\s+([\d.]+)", out)
        return float(found[1]) if found else 0.0
    return {"answered": number("Queries completed"), "lost": int(number("Queries lost")),
            "rate": number("Queries per second")}


def jumbled(work, names):
    """A file of queries in no order, so that each name is as cold as a client finds it."""
    names = list(names)
    random.Random(1).shuffle(names)
    path = os.path.join(work, "queries")
    with open(path, "w") as file:
        file.writelines(f"{name} A\n" for name in names)
    return path


def authority(work, records="", port=None):
    """An upstream that has an address for each name below grow.test."""
    port = port or free_port(UPSTREAM)
    with open(os.path.join(work, "zone"), "w") as zone:
        zone.write("$TTL 3600\n@ SOA localhost. root.localhost. 1 3600 600 86400 60\n@ NS ns.localhost.\n* A 192.0.2.1\n"
                   + records)
    with open(os.path.join(work, "nsd.conf"), "w") as conf:
        conf.write(f"""server:
  ip-address: {UPSTREAM}@{port}
  zonesdir: "{work}"
  database: ""
  pidfile: "{work}/pid"
  xfrdfile: "{work}/xfrd"
  zonelistfile: "{work}/zones.list"
  xfrdir: "{work}"
  username: ""
  server-count: 1
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: grow.test
  zonefile: zone
""")
    start(["taskset", "-c", "1", "nsd", "-d", "-c", os.path.join(work, "nsd.conf")], work)
    while not ask("warm.grow.test", (UPSTREAM, port)):
        time.sleep(.05)
    return port


def start(argv, work):
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=open(os.path.join(work, "log"), "ab"))
    running.append(process)
    return process


def stop(process):
    process.terminate()
    process.wait()
    running.remove(process)


def free_port(address="127.0.0.1"):
    """A port that is free over UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((address, 0))
            port = udp.getsockname()[1]
            try:
                tcp.bind((address, port))
                return port
            except OSError:
                continue


def question(name, number):
    """A query for an address, with this id."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, 1, 1)


def ask(name, address):
    """True when an address is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(.05)
        try:
            one.connect(address)
            one.send(question(name, 1))
            return struct.unpack(">H", one.recv(4096)[6:8])[0] > 0
        except OSError:
            return False


if __name__ == "__main__":
    main()
