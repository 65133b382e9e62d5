"""The bad days of a fleet while clients ask all its sidecars without a pause and a node changes a record 50 times a second.

Each answer is checked: none is lost, a name that does not change has its value, and of the name that changes a sidecar
never answers an older value after a newer one. `FLEET_LOAD_SIDECARS` sets how many sidecars there are."""

import contextlib
import os
import shutil
import signal
import threading
import time

import dns.exception
import pytest
from harness import api
from harness.etcd import binary
from harness.wait import until
from test_fleet import answers, etcd, node, status  # noqa: F401

pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")

SIDECARS = int(os.environ.get("FLEET_LOAD_SIDECARS", "5"))
RATE = 50
STEADY = ["10.9.9.9"]


def address(number):
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def number_of(text):
    parts = [int(part) for part in text.split(".")]
    assert parts[0] == 10, text
    return parts[1] << 16 | parts[2] << 8 | parts[3]


class Client(threading.Thread):
    """Asks one sidecar again and again."""

    def __init__(self, server, newest):
        super().__init__(daemon=True)
        self.server, self.newest = server, newest
        self.faults, self.asked, self.seen, self.floor = [], 0, 0, None
        self.over, self.pause, self.turn = threading.Event(), threading.Event(), threading.Lock()
        self.start()

    def run(self):
        while not self.over.is_set():
            if self.pause.is_set():
                time.sleep(0.005)
                continue
            with self.turn:
                self.ask_one()

    def ask_one(self):
        name = ("steady", "moves")[self.asked % 2]
        self.asked += 1
        try:
            answer = self.server.ask(f"{name}.load.example", patience=5)
        except (OSError, dns.exception.DNSException) as error:
            self.faults.append(f"{name}: no answer: {error!r}")
            return
        if name == "steady":
            if answer.values != STEADY:
                self.faults.append(f"steady: {answer}")
            return
        newest = self.newest()  # after the answer: what was sent by now may be in it
        if answer.rcode != "NOERROR" or len(answer.values) != 1:
            self.faults.append(f"moves: {answer}")
            return
        found, floor = number_of(answer.values[0]), self.seen
        if found < floor and self.floor is not None:
            floor, self.floor = self.floor, None
        if not floor <= found <= newest:
            self.faults.append(f"moves: {found} after {self.seen}, with {newest} sent")
        self.seen = found

    def may_go_back_once(self, floor):
        """From here on one older value is right, if it is not older than this."""
        with self.turn:
            self.floor = floor

    @contextlib.contextmanager
    def excused(self):
        """No query while its process is not there."""
        self.pause.set()
        with self.turn:
            yield
        self.pause.clear()


class Writer(threading.Thread):
    """Changes the record; what it has sent last is the newest that may be answered."""

    def __init__(self, server, zone, record):
        super().__init__(daemon=True)
        self.caller, self.zone, self.record = api.Api(server, patience=40), zone, record
        self.sent, self.made, self.refused = 1, 1, 0
        self.over = threading.Event()
        self.start()

    def run(self):
        due = time.monotonic()
        while not self.over.is_set():
            self.sent += 1
            code, _ = self.caller.attempt("UpdateZoneRecord", RecordId=self.record, Rr="moves", Type="A", Value=address(self.sent))
            if code == 200:
                self.made = self.sent
            else:
                self.refused += 1
            due = max(due + 1 / RATE, time.monotonic() - 1)
            self.over.wait(max(0.0, due - time.monotonic()))


class LoadedFleet:
    """Three members, an API node with its writer, and sidecars with a client each."""

    def __init__(self, cluster, node):  # noqa: F811
        self.cluster, self.node = cluster, node
        self.api_node = node(cluster, "w", writes=True)
        caller = api.Api(self.api_node)
        self.zone = caller.zone("load.example", vpcs=["vpc-one"], records=[("steady", "A", STEADY[0])])
        record = caller.record(self.zone, "moves", "A", address(1))
        sidecars = [node(cluster, f"s{number}") for number in range(SIDECARS)]
        for server in sidecars:
            answers(server, "moves.load.example", [address(1)], 30)
        self.writer = Writer(self.api_node, self.zone, record)
        self.clients = [Client(server, lambda: self.writer.sent) for server in sidecars]

    def moves_on(self, patience=90):
        """Waits until the writer makes changes and every sidecar answers with one of them."""
        made = self.writer.made
        until(lambda: self.writer.made > made or self.writer.over.is_set(), "changes are made", patience)
        made = self.writer.made
        for client in self.clients:
            until(lambda: client.seen >= made, f"{client.server.config_file} has {made}, not {client.seen}", patience)

    def end(self):
        self.moves_on()
        self.writer.over.set()
        self.writer.join(60)
        for client in self.clients:
            until(lambda: client.seen >= self.writer.made, "the last change is everywhere", 60)
            client.over.set()
        [client.join(20) for client in self.clients]
        faults = [fault for client in self.clients for fault in client.faults]
        assert faults == [], faults[:8]
        assert all(client.asked > 20 for client in self.clients)


@pytest.fixture
def loaded(etcd, node, note):  # noqa: F811
    fleet = LoadedFleet(etcd(), node)
    fleet.moves_on()
    yield fleet
    fleet.end()
    note("queries, changes, changes refused", (sum(client.asked for client in fleet.clients), fleet.writer.sent, fleet.writer.refused))


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_member_is_killed_under_load(loaded, who):
    leader = loaded.cluster.leader()
    member = leader if who == "leader" else next(m for m in loaded.cluster.members if m is not leader)
    member.kill()
    loaded.moves_on()
    member.start("existing")
    until(loaded.cluster.is_healthy, "healthy", 30)
    loaded.moves_on()


def test_a_frozen_leader_under_load(loaded):
    leader = loaded.cluster.leader()
    leader.signal(signal.SIGSTOP)
    loaded.moves_on()
    leader.signal(signal.SIGCONT)
    loaded.moves_on()


def test_all_of_etcd_stops_under_load(loaded):
    loaded.cluster.stop()
    asked = [client.asked for client in loaded.clients]
    for client, before in zip(loaded.clients, asked):
        until(lambda: client.asked > before + 200, "it answers on", 60)
        until(lambda: status(client.server)["fleet"]["state"] == "away", "it knows", 40)
    loaded.cluster.start("existing")
    loaded.moves_on()


def test_compaction_and_a_sidecar_that_restarts_under_load(loaded):
    """One is stopped in order and goes on where it was; one is killed, and its snapshot may be a little older."""
    stopped, killed = loaded.clients[:2]
    with stopped.excused():
        assert stopped.server.stop() == 0
        made = loaded.writer.made
        until(lambda: loaded.writer.made > made + 20, "changes while it is away", 60)
        _, revision = loaded.cluster.head()
        loaded.cluster.ctl("compaction", revision)
        stopped.server = loaded.node(loaded.cluster, "s0")
    loaded.moves_on()
    with killed.excused():
        killed.server.kill()
        killed.server = loaded.node(loaded.cluster, "s1")
    killed.may_go_back_once(1)
    loaded.moves_on()


def test_a_restored_backup_under_load(loaded):
    """The one day on which values go back: to the one of the backup, and never further."""
    cluster = loaded.cluster
    backup = cluster.folder / "backup.db"
    floor = loaded.writer.made
    cluster.ctl("snapshot", "save", backup, to=[cluster.leader().url])
    loaded.moves_on()
    cluster.stop()
    for member in cluster.members:
        shutil.rmtree(member.folder)
        initial = ",".join(f"{m.name}={m.peer_url}" for m in cluster.members)
        cluster.ctl("snapshot", "restore", backup, "--name", member.name, "--data-dir", member.folder, "--initial-cluster",
                    initial, "--initial-advertise-peer-urls", member.peer_url, "--initial-cluster-token", "restored")
    for client in loaded.clients:
        client.may_go_back_once(floor)
    cluster.start("existing")
    loaded.moves_on(120)
