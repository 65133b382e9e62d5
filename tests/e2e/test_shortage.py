"""When the machine itself is short of something: descriptors, disk, time; and when its clocks jump."""

import contextlib
import os
import resource
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import api, metrics
from harness.ask import ask, frame, query, receive
from harness.fake import address
from harness.private import ZONE
from harness.wait import until

SNAPSHOT = '[cache]\nsnapshot_every = "1s"\n'
RECOVERY = 2 + 1.5
IN_TIME = 4 + 1.5


def well(server):
    """Private names and what is cached are answered."""
    private, known = server.ask("www.p.example"), server.ask("known.test")
    assert (private.values, known.values) == (["10.0.0.1"], ["192.0.2.1"]), (private, known)
    assert private.elapsed < 1.5 and known.elapsed < 1.5
    return True


def for_a_while(seconds, check):
    """Checks again and again for so long."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        check()
        time.sleep(0.05)


# --- descriptors ----------------------------------------------------------------------------------------------


def cpu_seconds(server):
    fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lowest_free_descriptor(server):
    taken = {int(name) for name in os.listdir(f"/proc/{server.pid}/fd")}
    return next(number for number in range(4096) if number not in taken)


def test_without_descriptors_the_known_is_answered_and_the_log_stays_short(start, fake):
    server = start(metrics.OPS + api.control() + ZONE, upstream=[fake()])
    where = [server.where, api.address_of(server), tuple(metrics.where(server).rsplit(":", 1))]
    assert server.ask("known.test").values and well(server)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (lowest_free_descriptor(server), 4096))
    before, used, begun = len(server.lines), cpu_seconds(server), time.monotonic()
    with contextlib.ExitStack() as stack:
        # they wait to be accepted, at every listener
        waiting = [stack.enter_context(socket.create_connection((host, int(port)), 6)) for host, port in where]
        waiting[0].sendall(frame(query("www.p.example").to_wire()))
        with ThreadPoolExecutor(16) as pool:
            new = pool.map(server.ask, (f"n{number}.test" for number in range(300)))
            for_a_while(3, lambda: well(server))
            for answer in new:
                assert answer.rcode == "SERVFAIL" and answer.ede and answer.elapsed < IN_TIME, answer
        told = "\n".join(server.lines[before:])
        assert "Too many open files" in told or "too many open files" in told, told
        assert len(server.lines) - before < 40, told
        assert cpu_seconds(server) - used < (time.monotonic() - begun) * 0.8, "it does not spin"

        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        returned = time.monotonic()
        until(lambda: server.ask(f"m{time.monotonic_ns()}.test").rcode == "NOERROR", "new names resolve")
        assert time.monotonic() - returned < RECOVERY
        waiting[0].settimeout(6)
        assert receive(waiting[0]).values == ["10.0.0.1"], "who waited is let in"
    assert api.Api(server).attempt("DescribeZones")[0] == 200
    assert "pvtzd_ready 1" in metrics.page(server)


# --- disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(namespace):
    """A disk of 256 KiB in a mount namespace."""
    namespace.run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "/mnt")

    class Disk:
        prefix = ("nsenter", "-t", str(namespace.pid), "-m", "--")
        folder = Path(f"/proc/{namespace.pid}/root/mnt")

        def pvtzd(self, start, upstream):
            arguments = ("--state-dir", "/mnt")
            return start(SNAPSHOT + ZONE, upstream=[upstream], prefix=self.prefix, arguments=arguments)

        def names(self):
            return sorted(file.name for file in self.folder.iterdir())

        def fill(self, but=0):
            room = os.statvfs(self.folder)
            (self.folder / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - but))

        def mount(self, how):
            namespace.run("mount", "-o", f"remount,{how}", "/mnt")

    return Disk()


def saved(disk):
    """When the cache was last saved."""
    with contextlib.suppress(OSError):
        return (disk.folder / "cache.snapshot").stat().st_mtime_ns
    return 0


def test_a_full_disk_costs_the_saved_cache_only(start, fake, disk):
    server = disk.pvtzd(start, fake(address(ttl=3600)))
    assert server.ask("known.test").values
    for number in range(600):
        server.ask(f"a-name-of-some-length-{number}.test")
    until(lambda: saved(disk) and (disk.folder / "cache.snapshot").stat().st_size > 30_000, "the cache was saved")
    disk.fill(but=16_384)  # room for a part of it
    before, kept = len(server.lines), (disk.folder / "cache.snapshot").read_bytes()
    server.logged(r"WARN cannot save the cache error=No space left", after=before)
    for_a_while(3, lambda: well(server))
    assert server.ask("new.test").values == ["192.0.2.1"]
    assert len(server.lines) - before < 12, server.log
    until(lambda: disk.names() == ["cache.snapshot", "filler"], "what was half written is not left on a full disk")
    assert len((disk.folder / "cache.snapshot").read_bytes()) == len(kept), "what was saved before is whole"
    (disk.folder / "filler").unlink()
    last = saved(disk)
    until(lambda: saved(disk) > last, "it is saved again")


def test_a_disk_that_becomes_read_only_costs_the_saved_cache_only(start, fake, disk):
    server = disk.pvtzd(start, fake(address(ttl=3600)))
    assert server.ask("known.test").values
    until(lambda: saved(disk), "the cache was saved")

    def read_only():
        with contextlib.suppress(AssertionError):  # busy while it is being saved
            disk.mount("ro")
            return True
        return False

    until(read_only, "the disk is read-only")
    before = len(server.lines)
    server.logged(r"WARN cannot save the cache error=Read-only file system", after=before)
    for_a_while(3, lambda: well(server))
    assert server.ask("new.test").values == ["192.0.2.1"]
    assert len(server.lines) - before < 12, server.log
    last = saved(disk)
    disk.mount("rw")
    until(lambda: saved(disk) > last, "it is saved again")


# --- time -----------------------------------------------------------------------------------------------------


def test_stopped_for_longer_than_any_deadline(start, fake):
    """A minute of it, with times that are shorter by as much."""
    gate = threading.Event()

    def script(asked):
        if asked.name == "slow.test":
            gate.wait(20)
        return asked.response(f"@ {2 if asked.name.startswith('short') else 3600} IN A 192.0.2.1")

    upstream = fake(script)
    text = '[cache]\nserve_stale = "3s"\nstale_answer_after = "200ms"\nprefetch = false\n'
    server = start(text + ZONE, upstream=[upstream])
    assert server.ask("known.test").values and server.ask("short.test").ttl == 2
    with ThreadPoolExecutor(64) as pool:
        under_way = pool.submit(ask, server.where, "slow.test", patience=15)
        until(lambda: upstream.count("slow.test"), "a question is under way")
        server.send(signal.SIGSTOP)
        begun = time.monotonic()
        names = ["www.p.example", "known.test", "short.test", *(f"n{number}.test" for number in range(40))]
        queued = [pool.submit(ask, server.where, name, patience=15) for name in names]
        gate.set()
        until(lambda: time.monotonic() - begun > 6, "longer than any deadline and than stale answers live")
        server.send(signal.SIGCONT)
        awake = time.monotonic()
        for name, one in zip(names, queued, strict=True):
            answer = one.result()
            right = ["10.0.0.1"] if name == "www.p.example" else ["192.0.2.1"]
            assert answer.values == right and not answer.ede, (name, answer)
        assert time.monotonic() - awake < RECOVERY
        late = under_way.result()
        assert late.values == ["192.0.2.1"] or (late.rcode == "SERVFAIL" and late.ede), late
    assert server.ask("after.test").values == ["192.0.2.1"] and well(server)

    upstream.stop()
    assert server.ask("short.test").values == ["192.0.2.1"], "fresh, or stale by a moment"
    server.send(signal.SIGSTOP)
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > 6, "longer than it may be served stale")
    server.send(signal.SIGCONT)
    assert server.ask("short.test").rcode == "SERVFAIL", "nothing is served beyond its life and the cap"
    assert well(server)


DAY = 86400


@pytest.fixture
def clock(program, other_build, tmp_path):
    """A wall clock for one program: `clock.env` for it, `clock.move(seconds)` from the true time. It comes between the
    program and the C library, so that one linked statically would not notice.
    """
    library, file = program("wallclock", "-shared", "-fPIC"), tmp_path / "clock"
    file.write_bytes(struct.pack("q", 0))

    class Clock:
        env = {"LD_PRELOAD": str(library), "WALLCLOCK": str(file)}

        def move(self, seconds):
            with file.open("r+b") as out:
                out.write(struct.pack("q", seconds))

    return Clock()


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "back"])
def test_a_wall_clock_that_jumps_by_a_day(start, fake, tmp_path, clock, jump):
    upstream = fake(address(ttl=60))
    text = api.control() + api.TWO_VPCS + ZONE
    server = start(text, upstream=[upstream], env=clock.env, arguments=("--state-dir", tmp_path / "state"))
    caller = api.Api(server)
    caller.zone("made.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.2")])
    assert server.ask("known.test").ttl == 60 and upstream.count() == 1

    clock.move(jump)
    assert 40 <= server.ask("known.test").ttl <= 60 and upstream.count() == 1, "TTLs do not know of it"
    assert well(server) and server.ask("www.made.example").values == ["10.0.0.2"]
    assert server.ask("new.test").values == ["192.0.2.1"]
    assert caller.attempt("DescribeZones")[1]["Code"] == "InvalidTimeStamp.Expired", "requests are held against it"
    server.reload()
    assert well(server)

    clock.move(0)
    assert caller.call("DescribeZones")["TotalItems"] == 2
    caller.zone("later.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.3")])
    assert server.ask("www.later.example").values == ["10.0.0.3"]
    assert 20 <= server.ask("known.test").ttl <= 60 and upstream.count("known.test") == 1

    clock.move(jump)  # what is saved under a wrong time does not live longer by that
    assert server.stop() == 0
    clock.move(0)
    again = start(text, upstream=[upstream], env=clock.env, arguments=("--state-dir", tmp_path / "state"))
    assert again.ask("known.test").ttl <= 60 and well(again)
    assert again.ask("www.made.example").values == ["10.0.0.2"]
