"""Hosts that are unlike others: limits, environment, file systems. It serves there, or says what is missing."""

import os
import signal
import subprocess

import pytest
from harness.process import binary

ZONE = """
[[zone]]
name = "p.example"
[[zone.record]]
name = "www"
type = "A"
value = "10.0.0.1"
"""

# A script that ends with the program; `$DIR` is a folder of the test.
HOSTS = {
    "an empty environment": 'exec env -i "$@"',
    "umask 0777": 'umask 0777; exec "$@"',
    "few descriptors": 'ulimit -n 64; exec "$@"',
    "hardly any descriptors": 'ulimit -n 24; exec "$@"',
    "no standard descriptors but the log": 'exec "$@" <&- >&-',
    "a state directory that is a link": 'mkdir $DIR/real; ln -s real $DIR/link; exec "$@" --state-dir $DIR/link',
    "a state directory that is a link to nowhere": 'ln -s nowhere $DIR/link; exec "$@" --state-dir $DIR/link',
    "a state directory that is a file": 'touch $DIR/file; exec "$@" --state-dir $DIR/file',
    "a state directory that cannot be made": 'exec "$@" --state-dir /proc/none',
    "no /proc and no /sys": """exec unshare -m sh -c 'umount -l /proc; umount -l /sys; exec "$@"' sh "$@" """,
    "a root that is read-only": """exec unshare -m sh -c 'mount -o remount,ro,bind /; exec "$@"' sh "$@" """,
}


@pytest.mark.parametrize("host", HOSTS)
def test_it_serves_on_an_odd_host(start, tmp_path, host):
    if "unshare" in HOSTS[host] and os.geteuid() != 0:
        pytest.skip("needs root")
    script = f"DIR={tmp_path}; {HOSTS[host]}"
    server = start(ZONE, prefix=("bash", "-c", script, "bash"))
    assert server.ask("www.p.example").values == ["10.0.0.1"]
    assert server.ask("www.p.example", tcp=True).values == ["10.0.0.1"]
    server.send(signal.SIGHUP)
    server.logged("reloaded")
    assert server.ask("www.p.example").values == ["10.0.0.1"]
    assert server.stop() == 0


def test_a_storm_of_reloads_costs_no_query(start):
    server = start(ZONE)
    for _ in range(200):
        server.send(signal.SIGHUP)
        assert server.ask("www.p.example").values == ["10.0.0.1"]
    assert server.stop() == 0


def test_a_limit_of_threads_is_told(tmp_path):
    """Of a user that has no other process."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    program = f"/tmp/pvtzd-{os.getpid()}"
    subprocess.run(["install", "-m", "755", binary(), program], check=True)
    try:
        words = ["setpriv", "--reuid=64123", "--regid=64123", "--clear-groups", "bash", "-c", 'ulimit -u 2; exec "$@"', "bash"]
        done = subprocess.run(
            [*words, program, "run", "--config", "/dev/null", "--listen", "127.0.0.1:0", "--metadata", "off"],
            capture_output=True, text=True, timeout=20, check=False, env={},
        )  # fmt: skip
    finally:
        os.unlink(program)
    assert done.returncode == 71 and "thread" in done.stderr, done
    assert "panicked" not in done.stderr, done.stderr
