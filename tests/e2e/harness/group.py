"""A control group that limits the memory of what runs in it."""

import contextlib
import os
from pathlib import Path

import pytest

from .wait import until


class Group:
    """Skips the test where no such group can be made: it needs root and the memory controller (of version 1 or 2)."""

    def __init__(self, limit):
        first = Path("/sys/fs/cgroup/memory")
        self.folder = (first if first.is_dir() else Path("/sys/fs/cgroup")) / f"pvtzd-test-{os.getpid()}"
        try:
            self.folder.mkdir()
            self._file("memory.limit_in_bytes", "memory.max").write_text(str(limit))
        except OSError as error:
            self._remove()
            pytest.skip(f"no control group for memory: {error}")
        self.prefix = ("sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh")

    def _file(self, *names):
        """The file that is there: each version has its own names."""
        return next((self.folder / name for name in names if (self.folder / name).exists()), self.folder / names[-1])

    @property
    def peak(self):
        """Octets that were in use at most, where the kernel tells."""
        file = self._file("memory.max_usage_in_bytes", "memory.peak")
        return int(file.read_text()) if file.exists() else 0

    @property
    def kills(self):
        """How often something in it was killed for want of memory."""
        text = self._file("memory.oom_control", "memory.events").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def close(self):
        """Once nothing runs in it any more."""
        until(lambda: self._remove() or not self.folder.exists(), "the group is empty", 5)

    def _remove(self):
        with contextlib.suppress(OSError):
            self.folder.rmdir()
