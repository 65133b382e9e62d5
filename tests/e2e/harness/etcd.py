"""etcd as Debian has it: members on loopback in a folder of the test, with or without TLS and users."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from .process import free_port
from .wait import until

PREFIX = "/pvtzd/default/v1/"


def binary():
    """The server under test: `$ETCD`, with its etcdutl beside it, or that of the system."""
    return os.environ.get("ETCD") or shutil.which("etcd")


class Member:
    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.name = f"m{number}"
        self.client, self.peer = free_port(), free_port()
        self.machine, self.host = cluster.places[number] if cluster.places else (None, "127.0.0.1")
        self.folder = cluster.folder / self.name
        self.process = None

    @property
    def url(self):
        return f"{self.cluster.scheme}://{self.host}:{self.client}"

    @property
    def peer_url(self):
        return f"http://{self.host}:{self.peer}"

    def start(self, state="new"):
        words = [
            *(self.machine.prefix if self.machine else ()), binary(), "--name", self.name, "--data-dir", self.folder,
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url,
            "--initial-cluster", ",".join(f"{m.name}={m.peer_url}" for m in self.cluster.members),
            "--initial-cluster-state", state, "--initial-cluster-token", self.cluster.token,
            "--heartbeat-interval", "50", "--election-timeout", "500", *self.cluster.options,
        ]
        log = open(self.cluster.folder / f"{self.name}.log", "a")
        environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64"}
        self.process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log, env=environment)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


class Etcd:
    """A cluster. `tls` is a folder with ca.pem, server.pem, server.key, client.pem and client.key; `places` are a machine and
    an address for each member, where they are not on loopback."""

    def __init__(self, folder, members=3, tls=None, options=(), places=()):
        self.places = list(places)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tls, self.token = tls, os.urandom(4).hex()
        self.scheme = "https" if tls else "http"
        self.options = list(options)
        self.user = None
        if tls:
            self.options += ["--cert-file", tls / "server.pem", "--key-file", tls / "server.key",
                             "--trusted-ca-file", tls / "ca.pem", "--client-cert-auth"]
        self.members = [Member(self, number) for number in range(members)]
        self.start()

    def start(self, state="new"):
        for member in self.members:
            member.start(state)
        until(self.is_healthy, "etcd is healthy", 30)

    def is_healthy(self):
        return self.ctl("endpoint", "health", check=False).returncode == 0

    def ctl(self, *words, check=True, to=None, stdin=None):
        """etcdctl."""
        endpoints = to or [member.url for member in self.members]
        command = ["etcdctl", "--endpoints", ",".join(endpoints), "--command-timeout", "10s"]
        if self.tls:
            command += ["--cacert", self.tls / "ca.pem", "--cert", self.tls / "root.pem", "--key", self.tls / "root.key"]
        if self.user:
            command += ["--user", self.user]
        prefix = self.places[0][0].prefix if self.places else ()
        command = [str(word) for word in [*prefix, *command, *words]]
        done = subprocess.run(command, env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True, input=stdin)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done

    def restore(self, member, backup, *words):
        """A member's folder from a backup, by the program that belongs to the server."""
        words = ["snapshot", "restore", backup, "--name", member.name, "--data-dir", member.folder, *words]
        newer = Path(binary()).with_name("etcdutl")
        if not newer.exists():
            return self.ctl(*words)
        return subprocess.run([str(word) for word in [newer, *words]], check=True, capture_output=True)

    def get(self, key):
        """The value of a key below the prefix, and the revision of its last change."""
        found = json.loads(self.ctl("get", PREFIX + key, "-w", "json").stdout)
        rows = found.get("kvs")
        if not rows:
            return None, 0
        import base64

        return base64.b64decode(rows[0].get("value", "")).decode(), rows[0]["mod_revision"]

    def keys(self, under="data/row/"):
        text = self.ctl("get", PREFIX + under, "--prefix", "--keys-only").stdout
        return [line for line in text.split("\n") if line]

    def head(self):
        value, revision = self.get("data/head")
        return (json.loads(value) if value else None), revision

    def leader(self):
        found = json.loads(self.ctl("endpoint", "status", "-w", "json").stdout)
        for member, status in zip(self.members, found):
            if status["Status"]["leader"] == status["Status"]["header"]["member_id"]:
                return member
        raise AssertionError("no leader")

    def stop(self):
        for member in self.members:
            member.kill()

    def section(self, node, more="", members=None):
        """The section of a node's configuration; it knows all members, or these."""
        endpoints = ", ".join(f'"{member.url}"' for member in members or self.members)
        text = f'[fleet]\nendpoints = [{endpoints}]\nnode = "{node}"\n'
        if self.tls:
            text += f'ca = "{self.tls}/ca.pem"\n'
        return text + more + "\n"
