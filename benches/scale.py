#!/usr/bin/env python3
"""What a million records and a hundred thousand zones cost, beside unbound and nsd: every table of "At size" at once.

    cargo build --release && python3 benches/scale.py [--rounds 5] [--records 1000000] [--zones 100000] [--only PART ...]

Parts: `zone` (one zone from a zone file and from TOML), `zones` (zones of ten records from zone files, and from the
store), `changes` (AddZoneRecord beside the durable commits of the storage library, 32 clients, pages of lists), `import`
(documents and the command beside loading the same zone file, DeleteZone, and a client beside both), `reload` (one changed
zone of 10,000). The tables are medians of the rounds (lowest-highest). They are written into docs/performance.md between
its two marks, and as JSON to benches/scale.json; parts that did not run keep their former figures. A server that is not installed is left out (Debian:
`apt-get install unbound nsd dnsperf`). Memory is the proportional set size of all processes of a server. All is on
loopback, with folders below TMPDIR, and all that is started is stopped.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

import api_server
from api_server import DOCUMENT, HERE, SERVER, Server, asked, free_port

MARKS = "<!-- benches/scale.py -->", "<!-- end of benches/scale.py -->"
SOA = "$TTL 300\n@ SOA ns1 admin 1 3600 900 604800 60\n@ NS ns1\nns1 A 192.0.2.1\n"
HEAD = "[upstream]\nservers = []\n[endpoints]\nproducts = []\n"


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--records", type=int, default=1_000_000)
    words.add_argument("--zones", type=int, default=100_000)
    words.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    asked_for = words.parse_args()
    path = os.path.join(HERE, "scale.json")
    tables = json.load(open(path)) if os.path.exists(path) else {}
    for part in asked_for.only:
        told(part)
        work = tempfile.mkdtemp(prefix="pvtzd-scale-", dir=os.environ.get("TMPDIR", HERE))
        os.chmod(work, 0o755)
        try:
            rows = PARTS[part](work, asked_for)
            tables[part] = {"date": time.strftime("%Y-%m-%d"), "rounds": asked_for.rounds, **rows}
            print(table(part, tables[part]), flush=True)
        finally:
            shutil.rmtree(work)
    with open(path, "w") as file:
        json.dump(tables, file, indent=1)
        file.write("\n")
    document(tables)


def told(what):
    """Says on standard error what is measured now."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- the parts

def zone(work, wanted):
    """One zone of many records."""
    count = wanted.records
    write(work, "corp.zone", SOA, *(f"host-{n:07d} A {address(n)}\n" for n in range(count)))
    write(work, "toml/pvtzd.toml", HEAD, '[[zone]]\nname = "corp.example"\n',
          *(f'[[zone.record]]\nname = "host-{n:07d}"\ntype = "A"\nvalue = "{address(n)}"\n' for n in range(count)))
    zones = [("corp.example", "corp.zone")]
    port = free_port()
    commands = {"pvtzd, zone file": pvtzd(work, port, zones), "nsd": nsd(work, port, zones), "unbound": unbound(work, port, zones),
                "pvtzd, TOML": served(f"{work}/toml/pvtzd.toml", port)}
    return started(commands, port, f"host-{count // 2:07d}.corp.example", wanted.rounds, f"{count:,} A records in one zone")


def zones(work, wanted):
    """Many zones of ten records."""
    count = wanted.zones
    for n in range(count):
        write(work, f"z{n}.zone", SOA, *(f"r{m} A 10.0.0.{m}\n" for m in range(10)))
    zones = [(f"z{n}.example", f"z{n}.zone") for n in range(count)]
    port, last = free_port(), f"r9.z{count - 1}.example"
    server = Server(work, "state")
    for start in range(0, count, 10_000):
        server.send({"Zones": [{"ZoneName": f"z{n}.example", "BindVpcs": [{"VpcId": "vpc-local"}],
                                "Records": [{"Rr": f"r{m}", "Type": "A", "Value": f"10.0.0.{m}"} for m in range(10)]}
                               for n in range(start, min(count, start + 10_000))]})
    server.stop()
    store = served(f"{work}/conf.toml", port)
    commands = {"pvtzd, zone files": pvtzd(work, port, zones), "pvtzd, its store": store,
                "nsd": nsd(work, port, zones), "unbound": unbound(work, port, zones)}
    return started(commands, port, last, wanted.rounds, f"{count:,} zones of 10 records")


def started(commands, port, name, rounds, title):
    found = {server: [] for server, command in commands.items() if command}
    for turn in range(rounds):
        for server, figures in found.items():
            told(f"  round {turn + 1} of {rounds}: {server}")
            figures.append(measure(commands[server], port, name))
    return {"title": [title, "first answer, s", "memory, MiB"],
            "rows": [[server, shown([time for time, _ in figures], 2), shown([size for _, size in figures], 0)]
                     for server, figures in found.items()]}


def change(work, wanted):
    """AddZoneRecord in an empty zone and in a large one, in turn."""
    count = wanted.records
    server = Server(work, "one")
    big, empty = server.zone("big.example"), server.zone("empty.example")
    for start in range(0, count, DOCUMENT):
        server.load("big.example", start, min(start + DOCUMENT, count))
    rates = {}
    told("  the bench of the storage library is built")
    api_server.commits(work)
    for turn in range(wanted.rounds):
        told(f"  round {turn + 1} of {wanted.rounds}")
        for what, run in {"empty": lambda: server.rate(empty, 1), "large": lambda: server.rate(big, 1), "commits": lambda: api_server.commits(work),
                          "empty 32": lambda: server.rate(empty, 32), "large 32": lambda: server.rate(big, 32)}.items():
            rates.setdefault(what, []).append(run())
    rows = [["`AddZoneRecord`, one client, empty zone", rated(rates["empty"])],
            [f"the same, zone of {count:,}", f"{rated(rates['large'])}, {ratio(rates['large'], rates['empty'])} x"],
            ["durable commits of these rows by the storage library alone", f"{rated(rates['commits'])}; one client has {ratio(rates['empty'], rates['commits'])} x"],
            ["32 clients, empty zone", f"{rated(rates['empty 32'])}, {ratio(rates['empty 32'], rates['empty'])} x one"],
            [f"32 clients, zone of {count:,}", f"{rated(rates['large 32'])}, {ratio(rates['large 32'], rates['large'])} x one"]]
    before, begun = server.memory(), time.monotonic()
    pages = list(range(1, count // 100, max(1, count // 100 // 1000)))
    for page in pages:
        server.api.call("DescribeZoneRecords", ZoneId=big, PageSize=100, PageNumber=page)
    took = (time.monotonic() - begun) / len(pages) * 1000
    rows.append([f"{len(pages)} pages of the list of {count:,}", f"{took:.1f} ms each, memory +{server.memory() - before:.1f} MiB"])
    server.stop()
    return {"title": ["changes through the API", ""], "rows": rows}


def load(work, wanted):
    """An import as documents and by the command, the end of the zone, and the same records out of a zone file."""
    count, imports, commands, ends, files = wanted.records, [], [], [], []
    write(work, "corp.zone", SOA, *(f"host-{n:07d} A {address(n)}\n" for n in range(count)))
    port = free_port()
    command = pvtzd(work, port, [("corp.example", "corp.zone")])
    for turn in range(wanted.rounds):
        told(f"  round {turn + 1} of {wanted.rounds}")
        server = Server(work, f"import-{turn}")
        server.zone("big.example")
        imports.append(sum(server.load("big.example", start, min(start + DOCUMENT, count)) for start in range(0, count, DOCUMENT)))
        commands.append((server.imported(f"{work}/corp.zone", "command.example"),
                         server.beside(lambda: server.imported(f"{work}/corp.zone", "other.example"))[1] * 1000))
        zone = server.api.call("DescribeZones", Keyword="big.example")["Zones"]["Zone"][0]["ZoneId"]
        ends.append(server.beside(lambda: server.api.call("DeleteZone", ZoneId=zone)))
        server.stop()
        files.append(measure(command, port, f"host-{count // 2:07d}.corp.example")[0])
    return {"title": [f"{count:,} A records", ""],
            "rows": [[f"import in documents of {DOCUMENT:,} records, durable", f"{shown(imports, 1)} s"],
                     ["first answer from the same zone file", f"{shown(files, 2)} s; the import takes {ratio(imports, files, 1)} x"],
                     ["the command `pvtzd import` with this file", f"{shown([time for time, _ in commands], 1)} s, {ratio([time for time, _ in commands], files, 1)} x"],
                     ["longest `AddZoneRecord` of another client meanwhile", f"{shown([longest for _, longest in commands], 0)} ms"],
                     [f"`DeleteZone` of {count:,} records", f"{shown([time for time, _ in ends], 2)} s"],
                     ["longest `AddZoneRecord` of another client meanwhile", f"{shown([longest * 1000 for _, longest in ends], 0)} ms"]]}


def reload(work, wanted):
    """A reload of a configuration of 10,000 zones of ten records, of which one has changed."""
    count, port = 10_000, free_port()

    def configure(turn):
        write(work, "pvtzd.toml", HEAD, *(f'[[zone]]\nname = "z{n}.example"\n' + "".join(
            f'[[zone.record]]\nname = "r{m}"\ntype = "A"\nvalue = "10.0.{turn if n == count // 2 else 0}.{m}"\n' for m in range(10))
            for n in range(count)))
    configure(0)
    server = start(served(f"{work}/pvtzd.toml", port), port, f"r0.z{count - 1}.example")
    cpu = []
    for turn in range(1, wanted.rounds + 1):
        told(f"  round {turn} of {wanted.rounds}")
        configure(turn)
        before = used(server.pid)
        server.send_signal(signal.SIGHUP)
        while reply(port, f"r0.z{count // 2}.example") != bytes([10, 0, turn, 0]):
            time.sleep(0.05)
        time.sleep(0.2)
        cpu.append((used(server.pid) - before) * 1000)
    rows = [["CPU time of a reload, ms", shown(cpu, 1)]]
    if shutil.which("dnsperf"):
        with open(f"{work}/queries", "w") as file:
            file.writelines(f"r{n % 10}.z{n * 7919 % count}.example A\n" for n in range(20_000))
        quiet, busy = [], []
        for turn in range(wanted.rounds):
            quiet.append(percentile(work, port))
            configure(100 + turn)
            busy.append(percentile(work, port, lambda: server.send_signal(signal.SIGHUP)))
        rows += [["99th percentile at 20,000 queries/s, µs", shown(quiet, 0)], ["the same with a reload in its 3 s", shown(busy, 0)]]
    stop(server)
    return {"title": [f"one changed zone of {count:,}", ""], "rows": rows}


PARTS = {"zone": zone, "zones": zones, "changes": change, "import": load, "reload": reload}


# ---------------------------------------------------------------- the servers

def served(conf, port):
    return [SERVER, "--config", conf, "--metadata", "off", "--listen", f"127.0.0.1:{port}"]


def pvtzd(work, port, zones):
    write(work, "pvtzd.toml", HEAD, *(f'[[zone]]\nname = "{name}"\nfile = "{file}"\n' for name, file in zones))
    return served(f"{work}/pvtzd.toml", port)


def unbound(work, port, zones):
    write(work, "unbound.conf", f"""server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  directory: "{work}"
  pidfile: ""
  use-syslog: no
  num-threads: 1
  module-config: "iterator"
remote-control:
  control-enable: no
""", *(f"auth-zone:\n  name: {name}\n  zonefile: {file}\n" for name, file in zones))
    return installed("unbound", "-d", "-c", f"{work}/unbound.conf")


def nsd(work, port, zones):
    write(work, "nsd.conf", f"""server:
  ip-address: 127.0.0.1@{port}
  username: ""
  database: ""
  zonesdir: "{work}"
  pidfile: "{work}/nsd.pid"
  xfrdfile: "{work}/xfrd"
  zonelistfile: "{work}/zonelist"
remote-control:
  control-enable: no
""", *(f"zone:\n  name: {name}\n  zonefile: {file}\n" for name, file in zones))
    return installed("nsd", "-d", "-c", f"{work}/nsd.conf")


def installed(program, *words):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    return [path, *words] if path else None


def start(command, port, name):
    return api_server.start(command, lambda: asked(port, name))[0]


def stop(server):
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def measure(command, port, name):
    """Seconds from the start to the first answer, and MiB half a second later."""
    begun = time.monotonic()
    server = start(command, port, name)
    try:
        took = time.monotonic() - begun
        time.sleep(0.5)
        return took, memory(server.pid)
    finally:
        stop(server)
        time.sleep(0.2)


def memory(session):
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) == session:
                with open(f"/proc/{pid}/smaps_rollup") as lines:
                    total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            pass
    return total / 1024


def used(pid):
    """Seconds that the threads of a process have run, by the scheduler's fine clock."""
    tasks = f"/proc/{pid}/task"
    return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks)) / 1e9


def reply(port, name):
    """The address in an answer; nothing where there is none."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        try:
            asking.connect(("127.0.0.1", port))
            asking.send(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1")
            return asking.recv(512)[-4:]
        except OSError:
            return None


def percentile(work, port, meanwhile=None):
    """The 99th percentile of latencies at 20,000 queries a second, in microseconds."""
    if meanwhile:
        threading.Timer(1.5, meanwhile).start()
    with open(f"{work}/latencies", "w") as out:
        load = subprocess.Popen(["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", f"{work}/queries", "-Q", "20000", "-l", "3", "-v"],
                                stdout=out, stderr=subprocess.DEVNULL)
        load.wait()
    with open(f"{work}/latencies") as out:
        latencies = sorted(float(found[1]) for found in (re.match(r"> \w+ \S+ \S+ ([\d.]+)", line) for line in out) if found)
    return latencies[int(len(latencies) * 0.99)] * 1e6 if latencies else float("nan")


# ---------------------------------------------------------------- the tables

def address(n):
    return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def write(work, name, *texts):
    path = os.path.join(work, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.writelines(texts)


def shown(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def rated(values):
    return f"{statistics.median(values):,.0f}/s ({min(values):,.0f}-{max(values):,.0f})"


def ratio(ones, others, digits=2):
    """The median of the ratios within a round."""
    return f"{statistics.median(one / other for one, other in zip(ones, others)):.{digits}f}"


def table(part, rows):
    lines = [rows["title"], ["---"] * len(rows["title"]), *rows["rows"]]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    plural = "s" if rows["rounds"] != 1 else ""
    return f"{text}\n\n`{part}`, {rows['date']}, median of {rows['rounds']} round{plural} (lowest-highest).\n"


def document(tables):
    path = os.path.join(HERE, "..", "docs", "performance.md")
    with open(path) as file:
        text = file.read()
    if not all(mark in text for mark in MARKS):
        return
    before, rest = text.split(MARKS[0], 1)
    behind = rest.split(MARKS[1], 1)[1]
    body = "\n".join(table(part, tables[part]) for part in PARTS if part in tables)
    with open(path, "w") as file:
        file.write(f"{before}{MARKS[0]}\n\n{body}\n{MARKS[1]}{behind}")


if __name__ == "__main__":
    main()
