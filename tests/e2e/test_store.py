"""What was made through the API and acknowledged survives: kills, damage, full disks, two processes.

`STORE_KILLS=100` is the long form of the kill loop.
"""

import collections
import json
import os
import random
import shutil
import subprocess
import threading
import time

import pytest
from harness import api
from harness.process import Pvtzd, binary
from harness.wait import until

KILLS = int(os.environ.get("STORE_KILLS", "15"))
FILE = "account.redb"


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def begin(start, state, text="", **options):
    """pvtzd with a state directory."""
    return start(api.control() + api.TWO_VPCS + text, arguments=("--state-dir", state), **options)


def test_everything_is_there_after_a_restart(start, state):
    server = begin(start, state)
    caller = api.Api(server)
    zone = caller.zone("kept.example", proxy=True, vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1"), ("@", "MX", "m.example")])
    line = caller.call("AddCustomLine", Name="office", Ipv4s=["127.0.0.2"])["LineId"]
    caller.record(zone, "www", "A", "10.0.0.2", Line=line, Remark="测试")
    caller.call("TagResources", ResourceType="ZONE", ResourceId=[zone], Tag=[{"Key": "k", "Value": "v"}])
    caller.call("AddResolverRule", ZoneName="corp.example", ForwardIp=[{"Ip": "127.0.0.1", "Port": 9}], Vpcs=[{"VpcId": "vpc-one"}])
    subnets = [{"AzId": az, "CidrBlock": "10.0.0.0/24", "VSwitchId": "v"} for az in "ab"]
    caller.call("AddResolverEndpoint", Name="e", VpcId="vpc-one", VpcRegionId="r", SecurityGroupId="s", IpConfig=subnets)
    caller.call("AddUserVpcAuthorization", AuthorizedUserId=5)
    before = caller.listing(), caller.pages("DescribeChangeLogs", "ChangeLogs", "ChangeLog")
    for end in (Pvtzd.stop, Pvtzd.kill):
        end(server)
        server = begin(start, state)
        assert "zones=1 durable=true" in server.logged("PrivateZone API is ready").string
        caller = api.Api(server)
        assert (caller.listing(), caller.pages("DescribeChangeLogs", "ChangeLogs", "ChangeLog")) == before
        assert server.ask("www.kept.example").values == ["10.0.0.1"]
        assert server.ask("www.kept.example", source="127.0.0.2").values == ["10.0.0.2"]
    newer = caller.record(zone, "later", "A", "10.0.0.3")
    assert newer > max(record["RecordId"] for record in before[0][zone][1]), "ids go on"


def test_without_a_state_directory_it_is_said(start):
    server = start(api.control())
    server.logged("kept in memory only: there is no state directory")
    assert "durable=false" in server.log
    api.Api(server).zone("gone.example")


def test_what_is_not_served_is_said(start, state):
    server = begin(start, state)
    api.Api(server).zone("kept.example")
    server.stop()
    start("[endpoints]\nproducts = []", arguments=("--state-dir", state)).logged(r"no \[control\].*not served")


def test_killed_at_any_moment_nothing_acknowledged_is_lost(start, state):
    """32 writers at work, whose changes are committed in groups, then SIGKILL. What was answered is there; what was not is
    there whole or not at all."""
    dice = random.Random()
    expected = {}  # record id -> value, of what was acknowledged
    doubtful = {}  # rr -> value, sent and never answered
    server = begin(start, state)
    caller = api.Api(server)
    zones = [caller.zone(f"kill{number}.example", vpcs=["vpc-one"]) for number in range(4)]
    counter = iter(range(10**9))
    for _ in range(KILLS):
        address, stop = caller.address, threading.Event()

        def write(zone, stop=stop, address=address):
            own = api.Api(address)
            link = own.connect()
            mine = []
            while not stop.is_set():
                number = next(counter)
                rr, value = f"r{number}", f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
                doubtful[rr] = value
                try:
                    reply = own.call("AddZoneRecord", connection=link, ZoneId=zone, Rr=rr, Type="A", Value=value)
                    mine.append(reply["RecordId"])
                    expected[mine[-1]] = (zone, rr, value)
                    del doubtful[rr]
                    if len(mine) % 5 == 0:
                        victim = mine.pop(0)
                        was = expected.pop(victim)
                        doubtful[was[1]] = was[2]
                        own.call("DeleteZoneRecord", connection=link, RecordId=victim)
                        del doubtful[was[1]]
                except Exception:  # noqa: BLE001 - killed under its feet
                    return

        writers = [threading.Thread(target=write, args=(zone,)) for zone in zones * 8]
        for writer in writers:
            writer.start()
        time.sleep(dice.uniform(0.0, 0.15))  # the random moment: nothing is waited for
        server.kill()
        stop.set()
        for writer in writers:
            writer.join()
        server = begin(start, state)
        assert "damaged" not in server.log
        caller = api.Api(server)
        found = {}
        for zone in zones:
            records = caller.pages("DescribeZoneRecords", "Records", "Record", ZoneId=zone)
            assert caller.call("DescribeZoneInfo", ZoneId=zone)["RecordCount"] == len(records)
            found |= {one["RecordId"]: (zone, one["Rr"], one["Value"]) for one in records}
        lost = {record: what for record, what in expected.items() if found.get(record) != what}
        assert not lost, lost
        more = {record: what for record, what in found.items() if record not in expected}
        assert all(doubtful.get(rr) == value for _, rr, value in more.values()), more
        expected.update(more)
        doubtful.clear()
        log = caller.pages("DescribeChangeLogs", "ChangeLogs", "ChangeLog", EntityType="PV_RECORD")
        added = {int(row["EntityId"]) for row in log if row["OperAction"] == "add"}
        removed = {int(row["EntityId"]) for row in log if row["OperAction"] == "del"}
        assert len(log) >= 10000 or added - removed == set(found), "a record and its line of the log go together"
        for record in dice.sample(sorted(found), min(5, len(found))):
            zone, rr, value = found[record]
            assert server.ask(f"{rr}.kill{zones.index(zone)}.example").values == [value]
    assert expected


def imported(caller, zones, **more):
    """Status and answer of an import."""
    body = json.dumps({"Zones": zones}).encode()
    return caller.send("POST", *api.acs3(caller, "PvtzdImport", more, body=body, kind="application/json"))


def test_killed_during_imports_and_deletions_no_half_change(start, state):
    """One client imports documents, another makes large zones and deletes them, then SIGKILL. A document or a deletion is
    there whole if it was answered, and whole or not at all otherwise."""
    dice = random.Random()
    size, documents, zones = 300, {}, {}  # document -> answered; zone -> what was answered last
    server = begin(start, state)
    api.Api(server).zone("imports.example", vpcs=["vpc-one"])
    counter = iter(range(10**9))
    for _ in range(KILLS // 2 + 1):
        address = api.address_of(server)

        def write(address=address):
            own = api.Api(address)
            while True:
                name = f"d{next(counter)}"
                documents[name] = False
                records = [{"Rr": f"{name}-{n}", "Type": "A", "Value": f"10.0.{n >> 8}.{n & 255}"} for n in range(size)]
                try:
                    assert imported(own, [{"ZoneName": "imports.example", "Records": records}])[0] == 200
                except Exception:  # noqa: BLE001 - killed under its feet
                    return
                documents[name] = True

        def delete(address=address):
            own = api.Api(address)
            while True:
                name = f"z{next(counter)}.example"
                zones[name] = None  # perhaps
                records = [{"Rr": f"r{n}", "Type": "A", "Value": "10.0.0.1"} for n in range(size)]
                try:
                    assert imported(own, [{"ZoneName": name, "Records": records}])[0] == 200
                    zones[name] = True
                    [zone] = own.call("DescribeZones", Keyword=name, SearchMode="EXACT")["Zones"]["Zone"]
                    zones[name] = None
                    own.call("DeleteZone", ZoneId=zone["ZoneId"])
                except Exception:  # noqa: BLE001 - killed under its feet
                    return
                zones[name] = False

        clients = [threading.Thread(target=run) for run in (write, delete)]
        for client in clients:
            client.start()
        time.sleep(dice.uniform(0.05, 0.6))  # the random moment: nothing is waited for
        server.kill()
        for client in clients:
            client.join()
        server = begin(start, state)
        assert "damaged" not in server.log
        caller = api.Api(server)
        status, reply = caller.attempt("PvtzdExport")
        assert status == 200, reply
        found = {zone["ZoneName"]: [record["Rr"] for record in zone.get("Records", [])] for zone in reply["Document"]["Zones"]}
        counts = collections.Counter(rr.split("-")[0] for rr in found.pop("imports.example"))
        assert set(counts.values()) <= {size}, "a document is there whole or not at all"
        assert set(counts) <= set(documents)
        lost = [name for name, answered in documents.items() if answered and name not in counts]
        assert not lost
        documents = {name: True for name in counts}
        assert all(len(records) == size for records in found.values()), "so is a zone"
        assert all(zones[name] is not False for name in found), "what was deleted stays deleted"
        assert all(name in found for name, last in zones.items() if last)
        zones = {name: True for name in found}
    assert documents


# --- damage ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sample(start, state):
    """The file of a pvtzd that was stopped, with three hundred records in it."""
    server = begin(start, state)
    caller = api.Api(server)
    zone = caller.zone("sample.example", vpcs=["vpc-one"])
    link = caller.connect()
    for number in range(300):
        caller.call("AddZoneRecord", connection=link, ZoneId=zone, Rr=f"r{number}", Type="A", Value=f"10.0.{number // 250}.{number % 250}")
    link.close()
    server.stop()
    return (state / FILE).read_bytes()


def flipped(octets, *places):
    damaged = bytearray(octets)
    for place in places:
        damaged[place] ^= 1 << (place % 8)
    return bytes(damaged)


DAMAGE = {
    "empty": lambda octets: b"",
    "garbage": lambda octets: random.Random(1).randbytes(len(octets)),
    "short garbage": lambda octets: b"not a store\n",
    "zeroes": lambda octets: bytes(len(octets)),
    "cut in half": lambda octets: octets[: len(octets) // 2],
    "cut by an octet": lambda octets: octets[:-1],
    "cut to a page": lambda octets: octets[:4096],
    "a bit of the magic": lambda octets: flipped(octets, 3),
    "a bit of a value": lambda octets: flipped(octets, octets.rindex(b"10.0.0.77") + 3),
    "a bit of a key": lambda octets: flipped(octets, octets.rindex(b"r123") + 1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_set_aside_and_told(start, state, sample, damage):
    damaged = DAMAGE[damage](sample)
    (state / FILE).write_bytes(damaged)
    server = begin(start, state)
    told = server.logged("is damaged and was set aside").string
    aside = [file for file in state.iterdir() if ".damaged-" in file.name]
    assert len(aside) == 1 and str(aside[0]) in told and "ERROR" in told
    assert aside[0].stat().st_size >= len(damaged) > 0 or damage == "empty"
    caller = api.Api(server)
    assert caller.call("DescribeZones")["TotalItems"] == 0
    caller.zone("new.example", vpcs=["vpc-one"], records=[("@", "A", "10.0.0.1")])
    server.stop()
    server = begin(start, state)
    assert server.ask("new.example").values == ["10.0.0.1"]
    assert aside[0].exists()


def test_bits_flipped_anywhere_never_change_an_answer(start, state, sample):
    """Whatever is flipped: all records are there as they were, or the file was set aside."""
    dice = random.Random()
    for _ in range(int(os.environ.get("STORE_FLIPS", "12"))):
        places = [dice.randrange(len(sample)) for _ in range(dice.choice((1, 1, 8)))]
        shutil.rmtree(state)
        state.mkdir()
        (state / FILE).write_bytes(flipped(sample, *places))
        server = begin(start, state)
        caller = api.Api(server)
        if "was set aside" in server.log:
            assert caller.call("DescribeZones")["TotalItems"] == 0
        else:
            [zone] = caller.call("DescribeZones")["Zones"]["Zone"]
            records = caller.pages("DescribeZoneRecords", "Records", "Record", ZoneId=zone["ZoneId"])
            shown = {(one["Rr"], one["Value"]) for one in records}
            assert shown == {(f"r{n}", f"10.0.{n // 250}.{n % 250}") for n in range(300)}, places
            caller.record(zone["ZoneId"], "more", "A", "10.0.0.1")
        server.stop()


def test_a_store_in_use_is_refused(start, state):
    server = begin(start, state)
    caller = api.Api(server)
    caller.zone("first.example")
    second = run(state, server.config_file)
    assert second.returncode != 0 and "is in use by another process" in second.stderr
    assert "panic" not in second.stderr
    caller.zone("second.example")
    assert caller.call("DescribeZones")["TotalItems"] == 2


def run(state, config_file, *prefix):
    words = [*prefix, binary(), "--config", config_file, "--metadata", "off", "--listen", "127.0.0.1:0", "--state-dir", state]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=20, check=False)


# --- disks ----------------------------------------------------------------------------------------------------


def test_a_state_directory_that_cannot_be_written_is_refused_at_start(start, tmp_path):
    config = tmp_path / "pvtzd.toml"
    config.write_text(api.control() + "\n[upstream]\nservers = []\n")
    for place in ("/proc/nowhere", "/dev/null/x"):
        done = run(place, config)
        assert done.returncode != 0 and place in done.stderr, done.stderr


@pytest.fixture
def disk(namespace):
    """A small disk in a mount namespace: its folder."""
    namespace.run("mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", "/mnt")
    return namespace, "/mnt"


def inside(start, namespace, folder, text=""):
    """pvtzd in the mount namespace, with our network."""
    prefix = ("nsenter", "-t", str(namespace.pid), "-m", "--")
    return start(api.control() + api.TWO_VPCS + text, prefix=prefix, arguments=("--state-dir", folder))


def test_a_full_disk_refuses_changes_and_recovers(start, disk):
    namespace, folder = disk
    server = inside(start, namespace, folder)
    caller = api.Api(server)
    zone = caller.zone("full.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    namespace.run("sh", "-c", f"cat /dev/zero > {folder}/filler", check=False)
    made, refusal = {}, None
    for number in range(3000):
        status, reply = caller.attempt("AddZoneRecord", ZoneId=zone, Rr=f"r{number}", Type="TXT", Value="x" * 500)
        if status != 200:
            refusal = status, reply["Code"]
            break
        made[reply["RecordId"]] = f"r{number}"
    assert refusal == (503, "ServiceUnavailable")
    server.logged("a change through the API was refused")
    before = caller.listing()
    shown = {one["RecordId"]: one["Rr"] for one in before[zone][1] if one["Type"] == "TXT"}
    assert shown == made, "what was refused was not made"
    assert caller.attempt("AddZoneRecord", ZoneId=zone, Rr="again", Type="A", Value="10.0.0.9")[0] == 503
    assert server.ask("www.full.example").values == ["10.0.0.1"]
    assert server.ask("again.full.example").rcode == "NXDOMAIN"
    assert caller.listing() == before

    namespace.run("rm", f"{folder}/filler")
    until(lambda: caller.attempt("AddZoneRecord", ZoneId=zone, Rr="after", Type="A", Value="10.0.0.9")[0] == 200, "room again")
    assert server.ask("after.full.example").values == ["10.0.0.9"]
    after = caller.listing()
    server.kill()
    server = inside(start, namespace, folder)
    assert "damaged" not in server.log
    assert api.Api(server).listing() == after


def test_a_disk_that_becomes_read_only(start, disk):
    namespace, folder = disk
    server = inside(start, namespace, folder)
    caller = api.Api(server)
    caller.zone("ro.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    server.stop()
    namespace.run("mount", "-o", "remount,ro", folder)
    prefix = ("nsenter", "-t", str(namespace.pid), "-m", "--")
    done = run(folder, server.config_file, *prefix)
    assert done.returncode != 0 and f"{folder}/{FILE}" in done.stderr and "ead-only" in done.stderr, done.stderr
    namespace.run("mount", "-o", "remount,rw", folder)
    server = inside(start, namespace, folder)
    assert server.ask("www.ro.example").values == ["10.0.0.1"]
