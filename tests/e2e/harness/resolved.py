"""The real systemd-resolved on an instance, with a bus of its own and an interface that has servers."""

import os
from pathlib import Path

import pytest

from .instance import RESOLVERS
from .process import ROOT
from .wait import until

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/></policy></busconfig>
"""

# In place of systemctl: it starts the daemon anew, and is done once that answers, as with Type=notify.
SYSTEMCTL = """#!/bin/sh
case "$1" in
is-active) [ "$3" = systemd-resolved ]; exit ;;
stop|reload-or-restart)
    [ -e /run/resolved.pid ] && kill "$(cat /run/resolved.pid)"
    while [ -e /run/resolved.pid ] && kill -0 "$(cat /run/resolved.pid)" 2>/dev/null; do sleep 0.05; done ;;
esac
[ "$1" = stop ] && exit 0
setsid {program} </dev/null >>{fake}/resolved.log 2>&1 &
echo $! > /run/resolved.pid
turns=0
until timeout 1 {resolvectl} dns >/dev/null 2>&1; do
    turns=$((turns + 1))
    [ $turns -gt 200 ] && exit 1
    sleep 0.05
done
exit 0
"""


def unpacked():
    """Where tests/run has unpacked the package; it is not installed."""
    folder = Path(os.environ.get("SYSTEMD_RESOLVED", ROOT / "tests" / ".env" / "systemd-resolved"))
    if not (folder / "usr/bin/resolvectl").exists():
        pytest.skip(f"no systemd-resolved in {folder}")
    return folder


def bus(instance):
    """A system bus on the instance."""
    configuration = instance.folder / "bus.conf"
    configuration.write_text(BUS)
    words = ("dbus-daemon", "--config-file", configuration, "--nofork", "--nopidfile")
    instance.made.append(instance.namespace.process(*words))
    there = ("test", "-S", "/run/dbus/system_bus_socket")
    until(lambda: instance.namespace.run(*there, check=False).returncode == 0, "there is a bus")


class Resolved:
    """Runs as long as the instance."""

    def __init__(self, instance):
        folder = unpacked()
        self.instance = instance
        run = instance.namespace.run
        instance.file("systemd/resolved.conf", "[Resolve]\nDomains=vpc.test\n")
        instance.file("machine-id", "0123456789abcdef0123456789abcdef\n")
        for name, line in (("passwd", "systemd-resolve:x:996:996::/:/bin/false\n"), ("group", "systemd-resolve:x:996:\n")):
            path = instance.etc / name
            path.write_text("".join(row for row in path.open() if "systemd-resolve:" not in row) + line)
        instance.link("resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
        run("chmod", "755", "/run")
        run("mkdir", "-p", "/run/systemd/resolve", "/run/dbus")
        run("chown", "996:996", "/run/systemd/resolve")
        bus(instance)
        program, resolvectl = folder / "lib/systemd/systemd-resolved", folder / "usr/bin/resolvectl"
        settings = {"program": program, "resolvectl": resolvectl, "fake": instance.fake}
        instance.program("systemctl", SYSTEMCTL.format(**settings))
        instance.program("resolvectl", f'#!/bin/sh\nexec {resolvectl} "$@"\n')
        # lo is no link to systemd-resolved
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        for link in ("eth0", "eth1"):
            run("ip", "link", "set", link, "up")
        run("ip", "address", "add", "10.9.9.9/24", "dev", "eth0")
        started = run(instance.fake / "systemctl", "start", check=False)
        assert started.returncode == 0, (started.stderr, (instance.fake / "resolved.log").read_text())
        run(resolvectl, "dns", "eth0", *RESOLVERS)

    def close(self):
        self.instance.namespace.run(self.instance.fake / "systemctl", "stop")
