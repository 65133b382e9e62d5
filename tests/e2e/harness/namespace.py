"""A machine of its own: a network and mount namespace, with its own resolv.conf, addresses and servers."""

import contextlib
import ctypes
import os
import subprocess

from .process import Process
from .wait import until

CLONE_NEWNET = 0x40000000


class Namespace:
    """The namespaces live as long as a process in them; it ends when its standard input does."""

    def __init__(self, folder):
        self.folder = folder
        self._holder = subprocess.Popen(["unshare", "-n", "-m", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        own = os.readlink("/proc/self/ns/mnt")
        until(lambda: self._namespace("mnt") not in (None, own), "the namespaces are there")
        self.prefix = ("nsenter", "-t", str(self._holder.pid), "-n", "-m", "--")
        self.run("ip", "link", "set", "lo", "up")
        self.run("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.mount("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
        self.mount("/etc/hosts", "127.0.0.1 localhost\n")
        self.resolv_conf = self.mount("/etc/resolv.conf", "nameserver 127.0.0.1\n")

    def _namespace(self, kind):
        try:
            return os.readlink(f"/proc/{self._holder.pid}/ns/{kind}")
        except OSError:
            return None

    def run(self, *words, check=True, patience=20):
        """Runs a program in here."""
        done = subprocess.run(
            [*self.prefix, *map(str, words)], capture_output=True, text=True, timeout=patience, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done

    def mount(self, target, text):
        """Puts a file of the test over one of the system; returns the file."""
        file = self.folder / target.strip("/").replace("/", "-")
        file.write_text(text)
        self.run("mount", "--bind", file, target)
        return file

    def address(self, address):
        """Gives the machine an address."""
        give_address(self, address)

    def join(self, other, own="10.99.0.1", theirs="10.99.0.2"):
        """A cable to another machine, with an address at each end and the way to everything else."""
        self.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other.pid)
        for machine, address, gateway in ((self, own, theirs), (other, theirs, own)):
            machine.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            machine.run("ip", "link", "set", "eth0", "up")
            machine.run("ip", "route", "add", "default", "via", gateway)

    @property
    def pid(self):
        return self._holder.pid

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes meanwhile are in here; they stay when it is over."""
        with within_network(self._holder.pid):
            yield

    def process(self, *words, **options):
        """Starts a program in here."""
        return Process([*self.prefix, *words], **options)

    def close(self):
        self._holder.stdin.close()
        self._holder.wait()


def give_address(machine, address):
    """Gives a machine an address: on a dummy interface where the kernel has them, else on lo."""
    if machine.run("ip", "link", "show", "vpc0", check=False).returncode != 0:
        made = machine.run("ip", "link", "add", "vpc0", "type", "dummy", check=False)
        if made.returncode == 0:
            machine.run("ip", "link", "set", "vpc0", "up")
    has_dummy = machine.run("ip", "link", "show", "vpc0", check=False).returncode == 0
    machine.run("ip", "address", "replace", f"{address}/32", "dev", "vpc0" if has_dummy else "lo")


@contextlib.contextmanager
def within_network(pid):
    """This thread is meanwhile in the network namespace of a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    here, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        enter(libc, there)
        yield
    finally:
        enter(libc, here)
        os.close(here)
        os.close(there)


def enter(libc, descriptor):
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
