"""A writer that is killed at each step of a large change, seen by a proxy: all of it is there, or nothing."""

import subprocess
import threading

import pytest
from harness import api
from harness.etcd import binary
from harness.process import binary as program
from harness.wait import until
from test_fleet import answers, etcd, node, status, values  # noqa: F401

proxies = pytest.importorskip("harness.etcd_proxy", reason="no h2 in the Python of the tests")
pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")

RECORDS = 3000
PREFIX = b"/pvtzd/default/v1/"


def step_of(message):
    """Which step of a large change a transaction is."""
    puts, removes = [], []
    for number, operation in proxies.fields(message):
        if number == 2:
            for kind, value in proxies.fields(operation):
                {2: puts, 3: removes}.get(kind, []).append(proxies.get(value, 1))
    if any(key.startswith(PREFIX + b"redo/") for key in removes):
        return "end"
    if any(key.startswith(PREFIX + b"redo/") for key in puts):
        return "part"
    if PREFIX + b"data/head" in puts:
        return "commit"
    if any(key.startswith(PREFIX + b"data/row/") for key in puts + removes):
        return "batch"
    return "other"


class StopsAt(proxies.Rule):
    """From a step on nothing passes: the request does not leave, or its answer does not come."""

    def __init__(self, step, number, moment):
        self.step, self.number, self.moment = step, number, moment
        self.seen, self.stopped, self.stream = 0, threading.Event(), None

    def request(self, stream, message):
        if stream.path != proxies.TXN or self.stopped.is_set() or step_of(message) != self.step:
            return [message]
        self.seen += 1
        if self.seen != self.number:
            return [message]
        if self.moment == "before":
            return self.stop(stream)
        self.stream = stream
        return [message]

    def answer(self, stream, message):
        return self.stop(stream) if stream is self.stream else [message]

    def stop(self, stream):
        for link in stream.link.proxy.links:
            link.stalled = True
        self.stopped.set()
        return []


STEPS = [
    ("part", 1, "before", False), ("part", 1, "after", False), ("part", 2, "after", False), ("commit", 1, "before", False),
    ("commit", 1, "after", True), ("batch", 1, "before", True), ("batch", 1, "after", True), ("batch", 17, "after", True),
    ("end", 1, "before", True), ("end", 1, "after", True),
]


@pytest.mark.parametrize("step, number, moment, made", STEPS)
def test_a_writer_killed_at_a_step(etcd, node, tmp_path, step, number, moment, made):  # noqa: F811
    cluster = etcd(members=1)
    between = proxies.EtcdProxy(cluster.members[0].client)
    try:
        from test_fleet_proxy import Through

        sidecar, other = node(cluster, "s"), node(cluster, "o", writes=True)
        writer = node(Through(between), "w", writes=True)
        api.Api(other).zone("before.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.7")])
        answers(writer, "www.before.example", ["10.0.0.7"])
        file = tmp_path / "zones.toml"
        records = "".join(f'[[Zones.Records]]\nRr = "r{n}"\nType = "A"\nValue = "10.0.0.1"\nTtl = 60\n' for n in range(RECORDS))
        file.write_text(f'[[Zones]]\nZoneName = "big.example"\nProxyPattern = "ZONE"\n[[Zones.BindVpcs]]\nVpcId = "vpc-one"\n{records}')
        between.rule = rule = StopsAt(step, number, moment)
        words = [program(), "--config", writer.config_file, "import", file, "--endpoint", api.Api(writer).host]
        environment = {"PVTZD_ACCESS_KEY_ID": api.KEY, "PVTZD_ACCESS_KEY_SECRET": api.SECRET, "PATH": "/usr/bin"}
        importing = subprocess.Popen([str(word) for word in words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert rule.stopped.wait(60), f"step {step} {number} was not seen: {rule.seen}"
        writer.kill()
        assert importing.wait(60) != 0, "it was not told that it is made"
        caller = api.Api(other, patience=60)
        until(lambda: caller.attempt("AddZone", ZoneName="after.example")[0] == 200, "the next writer goes on", 60)
        head, revision = cluster.head()
        assert "redo" not in head and head["rows"] == len(cluster.keys())
        until(lambda: status(sidecar)["fleet"]["revision"] == revision, "the sidecar has it", 30)
        assert status(sidecar)["fleet"]["whole"]
        expected = ["10.0.0.1"] if made else []
        for name in ("r0", f"r{RECORDS // 2}", f"r{RECORDS - 1}"):
            for server in (sidecar, other):
                assert (values(server, f"{name}.big.example") or []) == expected
        assert values(sidecar, "www.before.example") == ["10.0.0.7"]
    finally:
        between.close()
