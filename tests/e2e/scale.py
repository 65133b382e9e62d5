#!/usr/bin/env python3
"""What many zones made through the API cost. Not part of the tests: it takes minutes.

    PVTZD=target/release/pvtzd tests/.env/venv/bin/python tests/e2e/scale.py [--zones 10000] [--records 10]

Prints a line for each measure, with the limit beside it, and exits 1 if one is not kept. With `dnsperf` installed it
compares the processor time of a DNS answer with that of a server of ten zones.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import api
from harness.process import Pvtzd

WORKERS = 16
failed = []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--zones", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=10, help="how long dnsperf asks")
    parser.add_argument("--folder", type=Path, help="where to keep the store; with one there only the restart is measured")
    words = parser.parse_args()
    folder = words.folder or Path(tempfile.mkdtemp(prefix="pvtzd-scale-"))
    try:
        if (folder / "many").exists():
            restart(folder, serve(folder, "many"), words)
        else:
            folder.mkdir(exist_ok=True)
            measure(folder, words)
    finally:
        if not words.folder:
            shutil.rmtree(folder)
    sys.exit(1 if failed else 0)


def measure(folder, words):
    few, server = serve(folder, "few"), serve(folder, "many")
    try:
        build(few, 10, words.records)
        begun = time.monotonic()
        zones = build(server, words.zones, words.records)
        took = time.monotonic() - begun
        changes = words.zones * (words.records + 2)
        show(f"{words.zones} zones x {words.records} records created", f"{took:.1f} s, {changes / took:.0f} changes a second")
        pages(server, zones)
        visible(server, zones)
        cost(few, server, words)
        show("memory", f"{memory(server) // 1024} MiB resident; with ten zones {memory(few) // 1024} MiB")
        restart(folder, server, words)
    finally:
        few.kill()
        server.kill()


def serve(folder, name):
    config = folder / f"{name}.toml"
    config.write_text(api.control() + api.TWO_VPCS + "\n[upstream]\nservers = []\n")
    return Pvtzd(config, arguments=("--state-dir", folder / name))


def build(server, zones, records):
    """Zones `z<n>.scale.example` with records `r<n>`, by connections that stay open."""
    ids, address, numbers, lock = [None] * zones, api.address_of(server), iter(range(zones)), threading.Lock()
    faults = []

    def work():
        caller = api.Api(address)
        link = caller.connect()
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                call = lambda action, **params: plain(caller, link, action, **params)
                ids[number] = zone = call("AddZone", ZoneName=f"z{number}.scale.example")["ZoneId"]
                for record in range(records):
                    value = f"10.{number >> 8 & 255}.{number & 255}.{record + 1}"
                    call("AddZoneRecord", ZoneId=zone, Rr=f"r{record}", Type="A", Value=value)
                call("BindZoneVpc", ZoneId=zone, **{"Vpcs.1.VpcId": "vpc-one"})
        except Exception as error:  # noqa: BLE001
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return ids


def plain(caller, link, action, **params):
    """A call without the checks that a test makes."""
    status, reply = caller.attempt(action, connection=link, **params)
    assert status == 200, reply
    return reply


def pages(server, zones):
    caller = api.Api(server)
    link = caller.connect()
    last = (len(zones) + 99) // 100
    kinds = {
        "DescribeZones, first page of 20": ("DescribeZones", {}),
        "DescribeZones, first page of 100": ("DescribeZones", {"PageSize": 100}),
        "DescribeZones, middle page of 100": ("DescribeZones", {"PageSize": 100, "PageNumber": max(1, last // 2)}),
        "DescribeZones, last page of 100": ("DescribeZones", {"PageSize": 100, "PageNumber": last}),
        "DescribeZones, keyword": ("DescribeZones", {"PageSize": 100, "Keyword": "z77"}),
        "DescribeZones, exact name": ("DescribeZones", {"Keyword": "z7.scale.example", "SearchMode": "EXACT"}),
        "DescribeZones, by VPC": ("DescribeZones", {"QueryVpcId": "vpc-one", "PageSize": 100}),
        "DescribeZoneInfo": ("DescribeZoneInfo", {"ZoneId": zones[len(zones) // 2]}),
        "DescribeZoneRecords": ("DescribeZoneRecords", {"ZoneId": zones[-1], "PageSize": 100}),
        "ListTagResources": ("ListTagResources", {"ResourceType": "ZONE"}),
        "DescribeChangeLogs": ("DescribeChangeLogs", {"PageSize": 100, "Keyword": "z9"}),
    }
    for name, (action, params) in kinds.items():
        times = []
        for _ in range(30):
            begun = time.monotonic()
            plain(caller, link, action, **params)
            times.append((time.monotonic() - begun) * 1000)
        times.sort()
        show(name, f"median {statistics.median(times):.1f} ms, slowest of 30 {times[-1]:.1f} ms", times[-1] < 50, "50 ms")
    begun = time.monotonic()
    plain(caller, link, "DescribeZoneVpcTree")
    show("DescribeZoneVpcTree (all zones at once, by design)", f"{(time.monotonic() - begun) * 1000:.0f} ms")


def visible(server, zones):
    """From the moment a change is sent until an answer shows it."""
    caller = api.Api(server)
    link = caller.connect()
    record = plain(caller, link, "AddZoneRecord", ZoneId=zones[5], Rr="seen", Type="A", Value="10.0.0.1")["RecordId"]
    times, after = [], []
    for number in range(100):
        value = f"10.200.{number}.1"
        begun = time.monotonic()
        plain(caller, link, "UpdateZoneRecord", RecordId=record, Rr="seen", Type="A", Value=value)
        answered = time.monotonic()
        assert server.ask("seen.z5.scale.example").values == [value], "in the very next answer"
        times.append((time.monotonic() - begun) * 1000)
        after.append((time.monotonic() - answered) * 1000)
    show("a change: sent, durable, answered by DNS", f"median {statistics.median(times):.1f} ms, slowest of 100 {max(times):.1f} ms",
         max(times) < 50, "50 ms")
    show("  of which after the API's answer", f"slowest {max(after):.1f} ms")


def cost(few, many, words):
    """Processor time of a DNS answer, for names all over the zones: as many of each server, or the processor's cache
    would be measured.
    """
    if not shutil.which("dnsperf"):
        return show("processor time of an answer", "not measured: no dnsperf")
    spent = {}
    for turn in range(2):
        for name, server, zones in (("10 zones", few, 10), (f"{words.zones} zones", many, words.zones)):
            names = [f"r{n % words.records}.z{n * 7919 % zones}.scale.example A\n" for n in range(10 * words.records)]
            queries = "".join(names * 200)
            spent.setdefault(name, []).append(asked(server, queries, words.seconds))
    ratio = min(spent[f"{words.zones} zones"]) / min(spent["10 zones"])
    each = ", ".join(f"{name}: {min(times):.2f} µs" for name, times in spent.items())
    return show("processor time of a DNS answer", f"{each}; ratio {ratio:.2f}", ratio < 1.25, "1.25")


def asked(server, queries, seconds):
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(queries)
        file.flush()
        command = ["dnsperf", "-s", server.where[0], "-p", str(server.where[1]), "-d", file.name, "-l", str(seconds), "-c", "4"]
        before = ticks(server)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        spent = (ticks(server) - before) / os.sysconf("SC_CLK_TCK")
    completed = next(int(line.split()[2]) for line in done.stdout.splitlines() if "Queries completed" in line)
    assert "NOERROR" in done.stdout and "NXDOMAIN" not in done.stdout, done.stdout
    return spent / completed * 1e6


def ticks(server):
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def memory(server):
    status = Path(f"/proc/{server.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def restart(folder, server, words):
    """From the start of the process until it says that it is ready, and to its first answer."""
    for way, end in (("after a stop", Pvtzd.stop), ("after SIGKILL", Pvtzd.kill)):
        end(server)
        begun = time.monotonic()
        again = serve(folder, "many")
        try:
            last = words.zones - 1
            assert again.ask(f"r0.z{last}.scale.example").values == [f"10.{last >> 8 & 255}.{last & 255}.1"]
            took = (time.monotonic() - begun) * 1000
            show(f"restart {way}, until the first answer", f"{took:.0f} ms", took < 500, "500 ms")
            size = (folder / "many" / "account.redb").stat().st_size >> 20
        finally:
            again.kill()
    show("the store", f"{size} MiB")


def show(what, figure, good=None, limit=None):
    verdict = "" if good is None else f"   ({'kept' if good else 'NOT KEPT'}: {limit})"
    print(f"{what}: {figure}{verdict}", flush=True)
    if good is False:
        failed.append(what)


if __name__ == "__main__":
    main()
