"""Bad days of a fleet: members killed, frozen and restored, tokens that end, history that is gone. Answers go on."""

import json
import os
import shutil
import signal
import subprocess
import threading

import pytest
from harness import api
from harness.etcd import PREFIX, Etcd, binary
from harness.wait import until
from test_fleet import answers, etcd, node, run, status, values  # noqa: F401

pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")


class Load:
    """Asks for a name again and again; every answer must be one of those that are right."""

    def __init__(self, server, name, right):
        self.server, self.name, self.right = server, name, right
        self.wrong, self.asked, self.over = [], 0, threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)
        self.thread.start()

    def ask(self):
        while not self.over.is_set():
            found = values(self.server, self.name)
            self.asked += 1
            if found not in self.right:
                self.wrong.append(found)

    def end(self):
        self.over.set()
        self.thread.join(10)
        assert self.asked > 10
        assert self.wrong == [], self.wrong[:5]


@pytest.fixture
def fleet(etcd, node):  # noqa: F811
    """Three members, an API node, a sidecar, and a zone."""
    cluster = etcd()
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    return cluster, writer, sidecar, zone


def add(writer, zone, name, value="10.0.0.9", patience=60):
    """Adds a record, however often it takes."""
    caller = api.Api(writer, patience=40)

    def added():
        code, reply = caller.attempt("AddZoneRecord", ZoneId=zone, Rr=name, Type="A", Value=value)
        return code == 200 or "xist" in str(reply.get("Code"))  # a repeated one may have been made

    until(added, f"{name} is added", patience)


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_the_leader_goes(fleet, way):
    cluster, writer, sidecar, zone = fleet
    load = Load(sidecar, "www.a.example", [["10.0.0.1"]])
    leader = cluster.leader()
    leader.signal(signal.SIGKILL if way == "killed" else signal.SIGSTOP)
    add(writer, zone, "more")
    answers(sidecar, "more.a.example", ["10.0.0.9"], 60)
    if way == "frozen":
        leader.signal(signal.SIGCONT)
    else:
        leader.process.wait()
        leader.start("existing")
    add(writer, zone, "again")
    answers(sidecar, "again.a.example", ["10.0.0.9"], 60)
    load.end()


def test_revisions_are_compacted_while_a_node_is_away(fleet, node):  # noqa: F811
    cluster, writer, sidecar, zone = fleet
    caller = api.Api(writer)
    gone = caller.record(zone, "gone", "A", "10.0.0.5")
    answers(sidecar, "gone.a.example", ["10.0.0.5"])
    sidecar.stop()
    caller.call("DeleteZoneRecord", RecordId=gone)
    for number in range(5):
        caller.record(zone, f"n{number}", "A", "10.0.0.6")
    _, revision = cluster.head()
    cluster.ctl("put", "/elsewhere", "x")
    cluster.ctl("compaction", revision + 1)
    sidecar = node(cluster, "s")
    answers(sidecar, "n4.a.example", ["10.0.0.6"], 30)
    assert values(sidecar, "gone.a.example") == []
    assert status(sidecar)["fleet"]["compared"] >= 1 and status(sidecar)["fleet"]["whole"]


def test_a_restored_backup_with_a_lower_revision(fleet):
    cluster, writer, sidecar, zone = fleet
    backup = cluster.folder / "backup.db"
    cluster.ctl("snapshot", "save", backup, to=[cluster.members[0].url])
    add(writer, zone, "later")
    answers(sidecar, "later.a.example", ["10.0.0.9"])
    cluster.stop()
    for member in cluster.members:
        shutil.rmtree(member.folder)
        initial = ",".join(f"{m.name}={m.peer_url}" for m in cluster.members)
        cluster.restore(member, backup, "--initial-cluster", initial, "--initial-advertise-peer-urls", member.peer_url,
                        "--initial-cluster-token", "restored")
    assert values(sidecar, "later.a.example") == ["10.0.0.9"], "until etcd is back"
    cluster.start("existing")
    for server in (sidecar, writer):
        answers(server, "later.a.example", [], 60)
        assert values(server, "www.a.example") == ["10.0.0.1"]
    add(writer, zone, "new")
    answers(sidecar, "new.a.example", ["10.0.0.9"], 30)


def test_the_quota_is_used_up(etcd, node):  # noqa: F811
    cluster = etcd(members=1, options=["--quota-backend-bytes", str(4 << 20)])
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    for number in range(10):
        cluster.ctl("put", f"/elsewhere/{number}", stdin="x" * (1 << 20), check=False)
    code, reply = api.Api(writer, patience=40).attempt("AddZoneRecord", ZoneId=zone, Rr="more", Type="A", Value="10.0.0.2")
    assert (code, reply["Code"]) == (503, "ServiceUnavailable")
    assert values(sidecar, "www.a.example") == ["10.0.0.1"]
    assert any("NOSPACE" in warning for warning in json.loads(run(writer, "fleet", "status", "--json", check=False).stdout)["warnings"])
    # As an operator makes room again.
    cluster.ctl("del", "/elsewhere/", "--prefix")
    cluster.ctl("compaction", json.loads(cluster.ctl("endpoint", "status", "-w", "json").stdout)[0]["Status"]["header"]["revision"])
    cluster.ctl("defrag")
    cluster.ctl("alarm", "disarm")
    add(writer, zone, "room")
    answers(sidecar, "room.a.example", ["10.0.0.9"], 30)


def test_an_unknown_schema_leaves_what_is_served(fleet, node):  # noqa: F811
    cluster, writer, sidecar, zone = fleet
    cluster.ctl("put", f"{PREFIX}data/schema", '{"min":2,"write":2}')
    until(lambda: status(sidecar)["fleet"]["state"] == "schema", "it is said", 30)
    assert values(sidecar, "www.a.example") == ["10.0.0.1"]
    cluster.ctl("put", f"{PREFIX}data/schema", '{"min":1,"write":1}')
    until(lambda: status(sidecar)["fleet"]["state"] == "following", "as before", 60)


def test_two_writers_race(fleet, node):  # noqa: F811
    """Each name is given out once, every acknowledged change is there once, none is there half."""
    cluster, writer, sidecar, zone = fleet
    other = node(cluster, "x", writes=True)
    rounds = int(os.environ.get("FLEET_RACES", "1000"))
    made = [[], []]

    def race(place, server):
        caller = api.Api(server, patience=60)
        for number in range(rounds):
            code, reply = caller.attempt("AddZoneRecord", ZoneId=zone, Rr=f"race{number}", Type="A", Value="10.0.1.1")
            made[place].append((code, reply.get("RecordId"), reply.get("Code")))

    threads = [threading.Thread(target=race, args=pair) for pair in enumerate((writer, other))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for one, two in zip(*made):
        assert sorted([one[0], two[0]]) == [200, 400], (one, two)
    head, _ = cluster.head()
    assert head["rows"] == len(cluster.keys())
    records = api.Api(writer).pages("DescribeZoneRecords", "Records", "Record", ZoneId=zone)
    ids = sorted(record["RecordId"] for record in records if record["Rr"].startswith("race"))
    assert ids == sorted(found[1] for found in made[0] + made[1] if found[0] == 200)
    for server in (writer, other, sidecar):
        until(lambda: status(server)["fleet"]["revision"] == cluster.head()[1], "all have it")
        assert status(server)["fleet"]["whole"]


def test_a_writer_killed_in_a_large_change(etcd, node):  # noqa: F811
    """Whatever the moment: what others see is all of it or nothing, and the next writer goes on."""
    cluster = etcd(members=1)
    file = cluster.folder / "zones.toml"
    records = "".join(f'[[Zones.Records]]\nRr = "r{n}"\nType = "A"\nValue = "10.0.0.1"\nTtl = 60\n' for n in range(3000))
    environment = {"PVTZD_ACCESS_KEY_ID": api.KEY, "PVTZD_ACCESS_KEY_SECRET": api.SECRET, "PATH": "/usr/bin"}
    from harness.process import binary as program

    sidecar, other = node(cluster, "s"), node(cluster, "o", writes=True)
    whole = set()
    for number, moment in enumerate(["redo/", "data/row/record/", "head", "end"]):
        zone = f"z{number}.example"
        file.write_text(f'[[Zones]]\nZoneName = "{zone}"\nProxyPattern = "ZONE"\n[[Zones.BindVpcs]]\nVpcId = "vpc-one"\n{records}')
        writer = node(cluster, f"w{number}", writes=True)
        before = len(cluster.keys())
        words = [program(), "--config", writer.config_file, "import", file, "--endpoint", api.Api(writer).host]
        importing = subprocess.Popen([str(word) for word in words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen = {
            "redo/": lambda: cluster.keys("redo/"),
            "data/row/record/": lambda: len(cluster.keys()) > before,
            "head": lambda: "redo" in (cluster.head()[0] or {}),
            "end": lambda: importing.poll() is not None,
        }[moment]
        until(lambda: seen() or importing.poll() is not None, moment, 60)
        writer.kill()
        importing.wait(60)
        add_zone = api.Api(other, patience=60)
        until(lambda: add_zone.attempt("AddZone", ZoneName=f"after{number}.example")[0] == 200, "the next writer goes on", 60)
        found = {name: values(sidecar, f"{name}.{zone}") for name in ("r0", "r1500", "r2999")}
        until(lambda: "redo" not in cluster.head()[0], "nothing is left half", 60)
        head, revision = cluster.head()
        until(lambda: status(sidecar)["fleet"]["revision"] == revision, "the sidecar has it", 30)
        assert status(sidecar)["fleet"]["whole"] and head["rows"] == len(cluster.keys())
        found = {str(values(sidecar, f"{name}.{zone}")) for name in ("r0", "r1500", "r2999")}
        assert len(found) == 1, found
        whole |= found
    assert "['10.0.0.1']" in whole


def certificates(folder):
    """A CA, a server's certificate, and clients' whose CN is their user."""
    folder.mkdir()

    def openssl(*words):
        subprocess.run(["openssl", *[str(word) for word in words]], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=ca",
            "-keyout", "ca.key", "-out", "ca.pem", "-addext", "basicConstraints=critical,CA:TRUE")
    for name in ("server", "root", "writer", "sidecar"):
        (folder / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "ext", "-out", f"{name}.pem")
    return folder


def roles(cluster, users, password=None):
    """The roles that `fleet init` prints, for these users."""
    cluster.ctl("role", "add", "pvtzd-sidecar")
    cluster.ctl("role", "grant-permission", "pvtzd-sidecar", "--prefix=true", "read", f"{PREFIX}data/")
    cluster.ctl("role", "grant-permission", "pvtzd-sidecar", "--prefix=true", "readwrite", f"{PREFIX}node/")
    cluster.ctl("role", "add", "pvtzd-writer")
    cluster.ctl("role", "grant-permission", "pvtzd-writer", "--prefix=true", "readwrite", PREFIX)
    for user, role in {"root": "root", **users}.items():
        cluster.ctl("user", "add", *([f"{user}:{password}"] if password else [user, "--no-password"]))
        cluster.ctl("user", "grant-role", user, role)


def test_client_certificates_and_roles(etcd, node, tmp_path):  # noqa: F811
    tls = certificates(tmp_path / "tls")
    cluster = etcd(tls=tls)
    roles(cluster, {"writer": "pvtzd-writer", "sidecar": "pvtzd-sidecar"})
    cluster.ctl("auth", "enable")
    files = lambda name: f'certificate = "{tls}/{name}.pem"\nkey = "{tls}/{name}.key"\n'  # noqa: E731
    writer = node(cluster, "w", writes=True, more=files("writer"))
    sidecar = node(cluster, "s", more=files("sidecar"))
    zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    until(lambda: len(cluster.keys("node/")) == 2, "both are there", 30)
    # A sidecar that would write may not.
    wrong = node(cluster, "x", writes=True, more=files("sidecar"))
    answers(wrong, "www.a.example", ["10.0.0.1"])
    code, reply = api.Api(wrong, patience=40).attempt("AddZoneRecord", ZoneId=zone, Rr="no", Type="A", Value="10.0.0.2")
    assert (code, reply["Code"]) == (503, "ServiceUnavailable"), reply
    assert run(sidecar, "fleet", "accept", check=False).returncode == 4
    assert values(sidecar, "no.a.example") == []


def test_passwords_and_tokens_that_end(etcd, node, tmp_path):  # noqa: F811
    cluster = etcd(options=["--auth-token-ttl", "5"])
    roles(cluster, {"writer": "pvtzd-writer", "sidecar": "pvtzd-sidecar"}, "secret")
    cluster.ctl("auth", "enable")
    cluster.user = "root:secret"
    password = tmp_path / "password"
    password.write_text("secret\n")
    login = lambda user: f'user = "{user}"\npassword_file = "{password}"\n'  # noqa: E731
    writer = node(cluster, "w", writes=True, more=login("writer"))
    sidecar = node(cluster, "s", more=login("sidecar"))
    zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    # Users change, which makes tokens old; then each member restarts, so that watches begin anew.
    cluster.ctl("user", "delete", "sidecar")
    cluster.ctl("user", "add", "sidecar:secret")
    cluster.ctl("user", "grant-role", "sidecar", "pvtzd-sidecar")
    for member in cluster.members:
        member.kill()
        member.start("existing")
        until(cluster.is_healthy, "healthy", 30)
    add(writer, zone, "after")
    answers(sidecar, "after.a.example", ["10.0.0.9"], 60)
    password.write_text("other\n")
    cluster.ctl("user", "passwd", "sidecar", "--interactive=false", stdin="other")
    cluster.members[0].kill()
    cluster.members[0].start("existing")
    until(cluster.is_healthy, "healthy", 30)
    cluster.ctl("user", "passwd", "writer", "--interactive=false", stdin="other")
    add(writer, zone, "later", patience=90)
    answers(sidecar, "later.a.example", ["10.0.0.9"], 60)
