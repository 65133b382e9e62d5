"""The snapshot of a node of a fleet where the disk is full, or something else is in its place: answers do not depend on it."""

import errno
import os
import shutil
import subprocess

import pytest
from harness import api, metrics
from harness.etcd import binary
from harness.wait import until
from test_fleet import answers, etcd, node, run, status, values  # noqa: F401

pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def fault(server):
    return status(server)["fleet"]["snapshot_fault"]


def fill(folder):
    """Takes all that is left of a file system."""
    with open(folder / "filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC


@needs_root
@pytest.mark.parametrize("size", ["8k", "4m"])
def test_a_full_disk(etcd, node, tmp_path, size):  # noqa: F811
    """Full from the start, or later: what is served goes on, it is said, and the snapshot is whole once there is room."""
    cluster = etcd(members=1)
    writer = node(cluster, "w", writes=True)
    caller = api.Api(writer)
    zone = caller.zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size={size} tmpfs {disk} && exec "$@"'
    sidecar = node(cluster, "s", state_dir=disk, prefix=("unshare", "-m", "sh", "-c", mount, "sh"))
    inside = tmp_path.__class__(f"/proc/{sidecar.pid}/root{disk}")
    answers(sidecar, "www.a.example", ["10.0.0.1"], 30)
    if size == "4m":
        until(lambda: (inside / "fleet.redb").exists() and fault(sidecar) is None, "it has a snapshot")
        fill(inside)
        for number in range(400):
            caller.record(zone, f"t{number}", "TXT", "x" * 200)
    until(lambda: fault(sidecar), "it is said", 60)
    assert values(sidecar, "www.a.example") == ["10.0.0.1"]
    assert metrics.total(sidecar, "pvtzd_fleet_snapshot_up") == 0
    assert "the snapshot of the fleet's rows" in sidecar.log and "SNAPSHOT" in run(sidecar, "status", check=False).stdout
    caller.record(zone, "full", "A", "10.0.0.2")
    answers(sidecar, "full.a.example", ["10.0.0.2"])
    subprocess.run(["nsenter", "-t", str(sidecar.pid), "-m", "mount", "-o", "remount,size=64m", disk], check=True)
    until(lambda: fault(sidecar) is None, "it is written again", 60)
    caller.record(zone, "last", "A", "10.0.0.3")
    answers(sidecar, "last.a.example", ["10.0.0.3"])
    # At the end it is written once more; a start without etcd serves it.
    held = os.open(inside / "fleet.redb", os.O_RDONLY)
    assert sidecar.stop() == 0
    cluster.stop()
    again = tmp_path / "again"
    again.mkdir()
    with os.fdopen(held, "rb") as source, open(again / "fleet.redb", "wb") as target:
        shutil.copyfileobj(source, target)
    sidecar = node(cluster, "s2", state_dir=again)
    for name, value in {"www": "10.0.0.1", "full": "10.0.0.2", "last": "10.0.0.3"}.items():
        assert values(sidecar, f"{name}.a.example") == [value]


def truncate(path, elsewhere):
    os.truncate(path, path.stat().st_size // 2)


def fifo(path, elsewhere):
    path.unlink()
    os.mkfifo(path)


def directory(path, elsewhere):
    path.unlink()
    path.mkdir()


def dangling(path, elsewhere):
    path.unlink()
    path.symlink_to(elsewhere / "not" / "there")


def device(path, elsewhere):
    path.unlink()
    path.symlink_to("/dev/zero")


def foreign(path, elsewhere):
    path.unlink()
    shutil.copy("/bin/true", path)


def unreadable(path, elsewhere):
    path.chmod(0)


def moved(path, elsewhere):
    path.rename(elsewhere / "real.redb")
    path.symlink_to(elsewhere / "real.redb")


ODD = [truncate, fifo, directory, dangling, device, foreign, unreadable, moved]


@needs_root
@pytest.mark.parametrize("change", ODD)
def test_what_is_in_place_of_the_snapshot(etcd, node, tmp_path, change):  # noqa: F811
    """The node starts, serves what etcd has, and leaves what it may not touch."""
    cluster = etcd(members=1)
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    path = sidecar.state / "fleet.redb"
    assert sidecar.stop() == 0
    change(path, tmp_path)
    # without the right of root to read all files
    rights = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    sidecar = node(cluster, "s", prefix=rights)
    answers(sidecar, "www.a.example", ["10.0.0.1"], 30)
    api.Api(writer).record(zone, "more", "A", "10.0.0.2")
    answers(sidecar, "more.a.example", ["10.0.0.2"])
    if change in (fifo, directory, device, dangling, unreadable):
        assert "cannot be used" in sidecar.log
        until(lambda: fault(sidecar), "it is said", 30)
        if change is unreadable:
            path.chmod(0o600)
        elif change is directory:
            path.rmdir()
        else:
            path.unlink()
        until(lambda: fault(sidecar) is None, "it is written once it can be", 60)
    assert sidecar.stop() == 0
    cluster.stop()
    sidecar = node(cluster, "s", prefix=rights)
    assert values(sidecar, "www.a.example") == ["10.0.0.1"]
    assert values(sidecar, "more.a.example") == ["10.0.0.2"]


def test_the_snapshot_of_another_fleet_is_not_served(etcd, node):  # noqa: F811
    cluster = etcd(members=1)
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    assert sidecar.stop() == 0
    cluster.stop()
    sidecar = node(cluster, "s", more='prefix = "/pvtzd/other"')
    assert "of the fleet" in sidecar.log
    assert not status(sidecar)["ready"]
    assert sidecar.ask("www.a.example").rcode == "SERVFAIL"
