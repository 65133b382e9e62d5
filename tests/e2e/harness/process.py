"""Processes that serve: started, watched by their standard error, stopped."""

import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

from .ask import ask
from .wait import PATIENCE, until

ROOT = Path(__file__).resolve().parents[3]


def binary():
    """The program under test: `$PVTZD`, which tests/run sets."""
    named = os.environ.get("PVTZD")
    return Path(named) if named else ROOT / "target" / "release" / "pvtzd"


def http3_build():
    """The program with HTTP/3, if there is one: `$PVTZD_HTTP3`, which tests/run sets, or the name from before."""
    return os.environ.get("PVTZD_HTTP3") or os.environ.get("PVTZD_ENCRYPTED")


def free_port(address="127.0.0.1"):
    """A port that is free for UDP and TCP, for servers that cannot choose one themselves."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(50):
        with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            tcp.bind((address, 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind((address, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class Process:
    """A program whose standard error is collected."""

    def __init__(self, command, **options):
        self.command = [str(word) for word in command]
        self.lines = []
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            **options,
        )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        """All that was written to standard error."""
        return "\n".join(self.lines)

    @property
    def is_alive(self):
        return self.process.poll() is None

    def logged(self, pattern, after=0, patience=PATIENCE):
        """Waits for a line that matches, among those after the first `after`."""

        def found():
            for line in self.lines[after:]:
                match = re.search(pattern, line)
                if match:
                    return match
            if not self.is_alive:
                self._reader.join(1)
                if not any(re.search(pattern, line) for line in self.lines[after:]):
                    raise AssertionError(f"ended with {self.process.returncode}, log:\n{self.log}")
            return None

        try:
            return until(found, f"log line {pattern!r}", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}\nlog:\n{self.log}") from None

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, patience=PATIENCE):
        """SIGTERM; the exit code."""
        if self.is_alive:
            self.send(signal.SIGTERM)
        return self.wait(patience)

    def wait(self, patience=PATIENCE):
        """Waits for the end; the exit code."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {patience} s, log:\n{self.log}") from None
        self._reader.join(2)
        return code

    def kill(self):
        """SIGKILL, whatever it does."""
        if self.is_alive:
            self.process.kill()
        self.process.wait()
        self._reader.join(2)


class Pvtzd(Process):
    """pvtzd on ports of its own. The metadata service is never asked unless a test says where it is."""

    def __init__(self, config_file, *, listen=("127.0.0.1:0",), metadata="off", prefix=(), arguments=(), env=None):
        self.config_file = Path(config_file)
        words = [*prefix, binary(), "--config", config_file, "--metadata", metadata]
        for address in listen:
            words += ["--listen", address]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PVTZD")}
        environment.pop("RUST_LOG", None)
        super().__init__([*words, *arguments], env={**environment, **(env or {})})
        ready = self.logged(r'ready listen="([^"]+)"')
        self.listening = []
        for address in ready.group(1).split(", "):
            host, port = address.rsplit(":", 1)
            self.listening.append((host.strip("[]"), int(port)))
        self.where = self.listening[0]

    @property
    def port(self):
        return self.where[1]

    def ask(self, name, rtype="A", **kind):
        return ask(self.where, name, rtype, **kind)

    def reload(self, text=None):
        """Writes the configuration, if there is a new one, and waits until it counts."""
        before = len(self.lines)
        if text is not None:
            self.config_file.write_text(text)
        self.send(signal.SIGHUP)
        self.logged(r"reloaded", after=before)

    def file_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))
