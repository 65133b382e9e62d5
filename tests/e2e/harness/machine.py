"""A machine with a running systemd: what happens in there happens to a copy of this machine's files.

It shares the kernel, and nothing else: processes, network, mounts and control groups are its own. So units run with
all that systemd does to them, and packages are installed for good, until the machine is gone.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from .namespace import give_address, within_network
from .process import ROOT, binary
from .wait import until

BOOT = Path(__file__).with_name("boot.sh")
UNITS = ROOT / "systemd"


def lacking():
    """Why no machine can be had here; None if it can."""
    if os.geteuid() != 0:
        return "a machine with systemd needs root"
    for program in ("/lib/systemd/systemd", shutil.which("unshare"), shutil.which("nsenter")):
        if not program or not Path(program).exists():
            return "a machine with systemd needs systemd and unshare"
    tried = subprocess.run(
        ["unshare", "-p", "-f", "-m", "-u", "-i", "-n", "-C", "true"], capture_output=True, text=True, check=False
    )
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Machine:
    """A machine that has booted. `root` is where its files are seen from outside."""

    def __init__(self, folder):
        hierarchy = Path("/sys/fs/cgroup/systemd")
        hierarchy = hierarchy if hierarchy.is_dir() else Path("/sys/fs/cgroup")
        self._log = (folder / "boot.log").open("w+")
        self._group = hierarchy / f"pvtzd-test-{os.getpid()}-{folder.name}"
        files = folder / "files"
        files.mkdir()
        self._holder = subprocess.Popen(
            [BOOT, "out", files, self._group], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        try:
            self.pid = until(self._child, "process 1 is there", 10)
            self.root = Path(f"/proc/{self.pid}/root")
            until(self._is_up, "systemd is up", 60)
        except BaseException:
            self.close()
            raise

    def _child(self):
        if self._holder.poll() is not None:
            raise AssertionError(f"the machine did not boot: {self._said()}")
        try:
            for child in Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split():
                if os.readlink(f"/proc/{child}/ns/pid") != os.readlink("/proc/self/ns/pid"):
                    return int(child)  # not one that boot.sh started on the way
        except OSError:
            pass
        return None

    def _is_up(self):
        if self._holder.poll() is not None:
            raise AssertionError(f"the machine did not boot: {self._said()}")
        if not (self.root / "run/systemd/private").exists():
            return False
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def _said(self):
        self._log.seek(0)
        return self._log.read()

    def words(self, *words):
        """The command line that runs a program in here."""
        inside = ("-m", "-u", "-i", "-n", "-p", "-C")
        return ["nsenter", "-t", str(self.pid), *inside, "-r", "-w", "--", *map(str, words)]

    def run(self, *words, check=True, patience=60, text=None):
        """Runs a program in here."""
        done = subprocess.run(
            self.words(*words),
            capture_output=True,
            text=True,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            timeout=patience,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
        if check and done.returncode != 0:
            logged = self.journal("-n", "30") if words[0] == "systemctl" else ""
            raise AssertionError(f"{words}: {done.stdout}{done.stderr}{logged}")
        return done

    @property
    def prefix(self):
        """What goes before a command line to run it in here."""
        return tuple(self.words())

    def address(self, address):
        """Gives it an address."""
        give_address(self, address)

    def write(self, path, text):
        """Writes a file."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def lend(self, file):
        """Puts a file of the outside in; where it is in here, wherever it came from."""
        shutil.copy(file, self.root / "root")
        return f"/root/{Path(file).name}"

    def lay(self, configuration, **drop_ins):
        """Puts program, units and configuration where a package puts them. `drop_ins`: for service and socket."""
        shutil.copy(binary(), self.root / "usr/bin/pvtzd")
        for unit in ("pvtzd.service", "pvtzd.socket"):
            shutil.copy(UNITS / unit, self.root / "lib/systemd/system")
        self.write("/etc/pvtzd/pvtzd.toml", configuration)
        for kind, text in drop_ins.items():
            self.write(f"/etc/systemd/system/pvtzd.{kind}.d/test.conf", text)
        self.run("systemctl", "daemon-reload")

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes meanwhile are in here; they stay when it is over."""
        with within_network(self.pid):
            yield

    def shown(self, name, unit="pvtzd.service"):
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def journal(self, *matches):
        """What pvtzd has logged."""
        words = ("journalctl", "--no-pager", "-o", "cat", "-u", "pvtzd.service", *matches)
        return self.run(*words, check=False).stdout

    def main_pid(self):
        """The pid of pvtzd as it is known in here; 0 if it does not run."""
        return int(self.shown("MainPID"))

    def close(self):
        self._holder.kill()  # and with it process 1, and with that all of them
        self._holder.wait()
        self._log.close()
        with contextlib.suppress(AssertionError):
            until(self._is_group_gone, "the control group is empty", 5)

    def _is_group_gone(self):
        for folder, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return not self._group.exists()
