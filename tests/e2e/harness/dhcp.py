"""Real DHCP clients and managers of resolv.conf on an instance, and a network with a DHCP server around it.

The packages are unpacked beside the tests and laid over the instance's /usr: their programs are where they would be if
they were installed, and the machine that runs the tests has none of them.
"""

import os
from pathlib import Path

import pytest

from .namespace import Namespace
from .process import ROOT
from .wait import until

UNPACKED = Path(os.environ.get("PVTZD_TEST_PACKAGES", ROOT / "tests" / ".env"))
SERVER = "10.9.9.1"


def unpacked(package):
    """Where tests/run has unpacked a package; it is not installed."""
    folder = UNPACKED / package
    if not folder.is_dir() or not any(folder.iterdir()):
        pytest.skip(f"no {package} in {folder}")
    return folder


def install(instance, *packages):
    """Lays packages over the instance's /usr, and what they have in /etc into its /etc."""
    folders = [unpacked(package) for package in packages]
    for name in ("bin", "sbin", "lib"):
        layers = [str(folder / part) for folder in folders for part in (name, f"usr/{name}") if (folder / part).is_dir()]
        if layers:
            lower = ":".join([*layers, f"/usr/{name}"])
            instance.namespace.run("mount", "-t", "overlay", "-o", f"lowerdir={lower}", "overlay", f"/usr/{name}")
    for folder in folders:
        if (folder / "etc").is_dir():
            instance.namespace.run("cp", "-a", f"{folder}/etc/.", "/etc/")


class Network:
    """What is at the other end of eth0: a machine with a DHCP server that names DNS servers."""

    def __init__(self, instance, folder):
        self.busybox = unpacked("busybox") / "bin" / "busybox"
        folder.mkdir()
        self.folder = folder
        self.instance = instance
        self.outside = Namespace(folder)
        self.server = None
        run = instance.namespace.run
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.outside.pid)
        run("ip", "link", "set", "eth0", "up")
        self.outside.run("ip", "address", "add", f"{SERVER}/24", "dev", "eth0")
        self.outside.run("ip", "link", "set", "eth0", "up")

    def serve(self, *servers):
        """From now on leases name these DNS servers."""
        if self.server:
            self.server.kill()
        configuration = self.folder / "udhcpd.conf"
        configuration.write_text(
            "start 10.9.9.50\nend 10.9.9.60\ninterface eth0\nlease_file /run/udhcpd.leases\npidfile /run/udhcpd.pid\n"
            f"option subnet 255.255.255.0\noption domain vpc.test\noption lease 600\noption dns {' '.join(servers)}\n"
        )
        self.outside.run("touch", "/run/udhcpd.leases")
        self.server = self.outside.process(str(self.busybox), "udhcpd", "-f", str(configuration))
        self.server.logged("started")

    def close(self):
        if self.server:
            self.server.kill()
        self.outside.close()


class Client:
    """A program that runs on the instance until it is told otherwise."""

    def __init__(self, instance, *words):
        self.instance = instance
        self.words = words
        self.process = None
        self.start()

    def start(self):
        """Begins anew, as in another network."""
        settings = [f"{key}={value}" for key, value in self.instance.environment.items()]
        self.process = self.instance.namespace.process("env", *settings, *map(str, self.words))
        (self.instance.fake / "client.pid").write_text(str(self.process.pid))

    def again(self):
        self.close()
        self.start()

    def close(self):
        self.process.stop()


def named(instance):
    """The nameservers of resolv.conf."""
    done = instance.namespace.run("cat", "/etc/resolv.conf", check=False)
    words = [line.split() for line in done.stdout.splitlines()]
    return [line[1] for line in words if line and line[0] == "nameserver"]


def leads_to(instance, client, *servers):
    """Waits until resolv.conf names these servers alone."""
    try:
        until(lambda: named(instance) == list(servers), f"resolv.conf names {servers}", 20)
    except AssertionError as error:
        raise AssertionError(f"{error}, it names {named(instance)}; {client.process.log}") from None
