#!/usr/bin/env python3
"""What a change through the PrivateZone API costs, in a zone of many records and in an empty one; and the store at a start.

    cargo build --release && python3 benches/changes.py [RECORDS]

One server with its state in a temporary folder on the disk of this one (or of TMPDIR). It prints a table: an import in
documents of 100,000 records beside loading the same zone from a zone file, AddZoneRecord by one client and by 32, durable
commits of the storage library alone (`cargo bench --bench commit`), memory for each record, pages of the list, a restart,
and the same with as many records in zones of ten. Rates are medians of five rounds in turn. All is on loopback, and all
that is started is stopped.
"""
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
from harness.api import Api, acs3  # noqa: E402

SERVER = os.environ.get("SERVER", os.path.join(HERE, "..", "target", "release", "pvtzd"))
ROUNDS, SECONDS, DOCUMENT = 5, 1.5, 100_000


def main():
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    work = tempfile.mkdtemp(prefix="pvtzd-changes-", dir=os.environ.get("TMPDIR", HERE))
    try:
        print(f"| {records:,} records through the API | |\n| --- | --- |")
        one_zone(work, records)
        many_zones(work, records // 10)
    finally:
        shutil.rmtree(work)


def one_zone(work, records):
    server = Server(work, "one")
    idle = server.memory()
    big, empty = server.zone("big.example"), server.zone("empty.example")
    took = sum(server.load("big.example", start, min(start + DOCUMENT, records)) for start in range(0, records, DOCUMENT))
    row("import", f"{took:.1f} s, {records / took:,.0f} records/s")
    row("the same from a zone file, first answer", f"{zone_file(work, records):.1f} s")
    row("memory for each record", f"{(server.memory() - idle) * 1024 * 1024 / records:.0f} octets")
    rates = {name: [] for name in ("empty", "full", "crowd", "crowd in the empty one")}
    for _ in range(ROUNDS):
        rates["empty"].append(server.rate(empty, 1))
        rates["full"].append(server.rate(big, 1))
        rates["crowd in the empty one"].append(server.rate(empty, 32))
        rates["crowd"].append(server.rate(big, 32))
    row("AddZoneRecord, one client, empty zone", shown(rates["empty"]))
    row(f"AddZoneRecord, one client, zone of {records:,}", shown(rates["full"]))
    row("32 clients, empty zone", shown(rates["crowd in the empty one"]))
    row(f"32 clients, zone of {records:,}", shown(rates["crowd"]))
    row("durable commits of these rows alone", commits(work))
    before = server.memory()
    begun = time.monotonic()
    pages = list(range(1, records // 100, max(1, records // 100 // 1000)))
    for page in pages:
        server.api.call("DescribeZoneRecords", ZoneId=big, PageSize=100, PageNumber=page)
    row(f"{len(pages)} pages of the list", f"{(time.monotonic() - begun) / len(pages) * 1000:.1f} ms each, memory +{server.memory() - before:.1f} MiB")
    begun = time.monotonic()
    server.api.call("DeleteZone", ZoneId=big)
    row(f"DeleteZone of {records:,} records", f"{time.monotonic() - begun:.1f} s")
    server.stop()


def many_zones(work, zones):
    server = Server(work, "many")
    took = 0.0
    for start in range(0, zones, 10_000):
        document = {"Zones": [{"ZoneName": f"z{n}.example", "BindVpcs": [{"VpcId": "vpc-local"}],
                               "Records": [{"Rr": f"r{m}", "Type": "A", "Value": f"10.0.0.{m}"} for m in range(10)]}
                              for n in range(start, min(zones, start + 10_000))]}
        took += server.send(document)
    row(f"import of {zones:,} zones of 10 records", f"{took:.1f} s")
    server.stop()
    server = Server(work, "many", name=f"r0.z{zones - 1}.example")
    row("start from their store, first answer", f"{server.start:.2f} s, {server.memory():.0f} MiB, peak {server.memory('VmHWM'):.0f}")
    server.stop()


class Server:
    """The server under test, with its state in a folder of this name."""

    def __init__(self, work, folder, name=None):
        state = os.path.join(work, folder)
        os.makedirs(state, exist_ok=True)
        conf, self.log = os.path.join(work, "conf.toml"), os.path.join(work, "log")
        port = free_port()
        with open(conf, "w") as file:
            file.write(f'[server]\nlisten = ["127.0.0.1:{port}"]\nstate_dir = "{state}"\n[upstream]\nservers = []\n[endpoints]\nproducts = []\n'
                       '[[vpc]]\nid = "vpc-local"\nclients = ["0.0.0.0/0"]\n'
                       '[control]\nlisten = "127.0.0.1:0"\n[[control.access_key]]\nid = "LTAI-test"\nsecret = "secret-of-the-test"\n')
        os.chmod(conf, 0o600)
        begun = time.monotonic()
        self.process = subprocess.Popen([SERVER, "--config", conf, "--metadata", "off"], stdout=subprocess.DEVNULL,
                                        stderr=open(self.log, "w"))
        while not (asked(port, name) if name else self.address()):
            if self.process.poll() is not None or time.monotonic() > begun + 300:
                sys.exit(open(self.log).read()[-2000:])
            time.sleep(0.005)
        self.start = time.monotonic() - begun
        while not self.address():
            time.sleep(0.01)
        self.api = Api(self.address(), patience=600)

    def address(self):
        with open(self.log) as log:
            found = [line for line in log if "the PrivateZone API is ready" in re.sub(r"\x1b\[[0-9;]*m", "", line)]
        found = found and re.search(r"127\.0\.0\.1:(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", found[0]).split("listen=")[1])
        return found and ("127.0.0.1", int(found[1]))

    def zone(self, name):
        return self.api.call("AddZone", ZoneName=name)["ZoneId"]

    def load(self, name, start, end):
        records = [{"Rr": f"host-{n:07d}", "Type": "A", "Value": f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"}
                   for n in range(start, end)]
        return self.send({"Zones": [{"ZoneName": name, "Records": records}]})

    def send(self, document):
        """Imports a document; seconds."""
        body = json.dumps({"Zones": document["Zones"]}, separators=(",", ":")).encode()
        target, headers, body = acs3(self.api, "PvtzdImport", {"Mode": "MERGE"}, body=body, kind="application/json")
        begun = time.monotonic()
        status, reply = self.api.send("POST", target, headers, body)
        if status != 200:
            sys.exit(f"import: {status} {str(reply)[:500]}")
        return time.monotonic() - begun

    def rate(self, zone, clients):
        """Changes a second by so many clients."""
        done, end = [0] * clients, time.monotonic() + SECONDS

        def work(client):
            link = self.api.connect()
            while time.monotonic() < end:
                name = f"n{client}-{time.monotonic_ns()}"
                self.api.call("AddZoneRecord", connection=link, ZoneId=zone, Rr=name, Type="A", Value="192.0.2.1")
                done[client] += 1
        threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / SECONDS

    def memory(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"{field}:\s+(\d+)", status.read())[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def zone_file(work, records):
    """Seconds to the first answer of a server with the records in a zone file."""
    port, name = free_port(), "first.corp.example"
    with open(os.path.join(work, "corp.zone"), "w") as zone:
        zone.write("$TTL 300\nfirst A 192.0.2.1\n")
        zone.writelines(f"host-{n:07d} A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n" for n in range(records))
    with open(os.path.join(work, "file.toml"), "w") as conf:
        conf.write('[upstream]\nservers = []\n[endpoints]\nproducts = []\n[[zone]]\nname = "corp.example"\nfile = "corp.zone"\n')
    begun = time.monotonic()
    process = subprocess.Popen([SERVER, "--config", f"{work}/file.toml", "--metadata", "off", "--listen", f"127.0.0.1:{port}"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not asked(port, name):
        time.sleep(0.005)
    took = time.monotonic() - begun
    process.kill()
    process.wait()
    return took


def commits(work):
    command = os.environ.get("COMMITS", "cargo bench -q --bench commit --").split()
    return subprocess.run([*command, work], capture_output=True, text=True, check=True, cwd=os.path.join(HERE, "..")).stdout.strip()


def asked(port, name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.02)
        try:
            asking.connect(("127.0.0.1", port))
            asking.send(b"\0\7\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
            return asking.recv(512)[7] > 0
        except OSError:
            return False


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def shown(values):
    return f"{statistics.median(values):,.0f}/s ({min(values):,.0f}-{max(values):,.0f})"


def row(what, figure):
    print(f"| {what} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
