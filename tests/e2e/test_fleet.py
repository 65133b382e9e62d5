"""A fleet on real members of etcd: changes at one node answer at all, and answers do not depend on etcd."""

import json
import subprocess

import pytest
from harness import api
from harness.etcd import Etcd, binary
from harness.process import binary as program
from harness.wait import until

pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")


@pytest.fixture
def etcd(tmp_path):
    made = []

    def make(**options):
        made.append(Etcd(tmp_path / f"etcd-{len(made)}", **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()


@pytest.fixture
def node(start, tmp_path):
    """Starts a node: `node(cluster, "a", writes=True)`. Its state stays over restarts."""

    def begin(cluster, name, writes=False, more="", text="", state_dir=None, **options):
        state = tmp_path / f"state-{name}"
        state.mkdir(exist_ok=True)
        head = api.control() if writes else "[endpoints]\nproducts = []\n"
        ops = f'[ops]\nlisten = "127.0.0.1:0"\nsocket = "{state}/s"\n'
        text = head + api.TWO_VPCS + ops + text + cluster.section(name, more)
        server = start(text, arguments=("--state-dir", state_dir or state), **options)
        server.state = state
        if writes:
            until(lambda: status(server)["ready"], "it knows the rows", 30)
        return server

    return begin


def values(server, name):
    answer = server.ask(name)
    return answer.values if answer else None


def answers(server, name, expected, patience=10):
    until(lambda: values(server, name) == expected, f"{name} is {expected} at {server.config_file}", patience)


def run(server, *words, check=True):
    done = subprocess.run([program(), "--config", server.config_file, *words], capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr + done.stdout
    return done


def status(server):
    return json.loads(run(server, "status", "--json").stdout)


def test_a_change_at_any_node_answers_at_all(etcd, node):
    cluster = etcd()
    writers = [node(cluster, f"w{number}", writes=True) for number in range(2)]
    sidecar = node(cluster, "s")
    zone = api.Api(writers[0]).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    for server in (*writers, sidecar):
        answers(server, "www.a.example", ["10.0.0.1"])
    # the other node goes on where the first was
    api.Api(writers[1]).record(zone, "more", "A", "10.0.0.2")
    assert values(writers[1], "more.a.example") == ["10.0.0.2"], "at once where it was made"
    answers(sidecar, "more.a.example", ["10.0.0.2"])
    with pytest.raises(api.Refused) as refused:
        api.Api(writers[1]).record(zone, "www", "A", "10.0.0.1")
    assert refused.value.status == 400, "decided on what the other node did"
    report = status(sidecar)["fleet"]
    assert (report["state"], report["whole"], report["bad_rows"]) == ("following", True, 0)
    head, revision = cluster.head()
    assert report["revision"] == revision and report["rows"] == head["rows"] == len(cluster.keys())


def test_etcd_away_costs_no_answer_and_a_restart_serves_the_snapshot(etcd, node):
    cluster = etcd()
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    cluster.stop()
    for server in (writer, sidecar):
        assert values(server, "www.a.example") == ["10.0.0.1"]
    until(lambda: status(sidecar)["fleet"]["state"] == "away", "it is said", 30)
    with pytest.raises(api.Refused) as refused:
        api.Api(writer, patience=60).record(zone, "late", "A", "10.0.0.2")
    assert refused.value.code == "ServiceUnavailable"
    assert sidecar.stop() == 0
    sidecar = node(cluster, "s")
    assert values(sidecar, "www.a.example") == ["10.0.0.1"], "before etcd was ever reached"
    assert status(sidecar)["ready"]
    cluster.start("existing")
    until(lambda: api.Api(writer).attempt("AddZoneRecord", ZoneId=zone, Rr="back", Type="A", Value="10.0.0.3")[0] == 200, "writes again", 60)
    answers(sidecar, "back.a.example", ["10.0.0.3"], 40)


def test_a_first_start_without_etcd_is_not_ready_and_leaks_nothing(etcd, node, fake):
    cluster = etcd(members=1)
    cluster.stop()
    upstream = fake()
    sidecar = node(cluster, "s", upstream=[upstream])
    assert not status(sidecar)["ready"]
    assert sidecar.ask("www.private.example").rcode == "SERVFAIL"
    assert upstream.log == [], "the name has not left the machine"
    open_one = node(cluster, "o", more='before_first = "forward"', upstream=[upstream])
    assert not status(open_one)["ready"]
    assert open_one.ask("www.public.example").rcode == "NOERROR"
    cluster.start("existing")
    until(lambda: status(sidecar)["ready"], "ready once the rows are known", 40)
    assert sidecar.ask("www.public.example").rcode == "NOERROR"


def test_a_bad_row_keeps_its_last_good_value_and_is_named(etcd, node):
    cluster = etcd(members=1)
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    caller = api.Api(writer)
    zone = caller.zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    answers(sidecar, "www.a.example", ["10.0.0.1"])
    key = next(key for key in cluster.keys() if "/record/" in key)
    good = cluster.ctl("get", key, "--print-value-only").stdout.strip()
    for bad in ("1 {", "9 {}", good.replace("10.0.0.1", "banana")):
        cluster.ctl("put", key, bad)
        until(lambda: status(sidecar)["fleet"]["bad_rows"] == 1, "the row is named", 30)
        named = status(sidecar)["fleet"]["bad"][0]
        assert key.endswith(named[0]) and named[1]
        assert values(sidecar, "www.a.example") == ["10.0.0.1"]
    caller.record(zone, "other", "A", "10.0.0.2")
    answers(sidecar, "other.a.example", ["10.0.0.2"], 30)
    assert values(sidecar, "www.a.example") == ["10.0.0.1"]
    sidecar.stop()
    sidecar = node(cluster, "s")
    assert values(sidecar, "www.a.example") == ["10.0.0.1"], "a restart too"
    cluster.ctl("put", key, good)
    until(lambda: status(sidecar)["fleet"]["bad_rows"] == 0, "mended", 30)


def test_a_mass_removal_waits_until_it_is_accepted(etcd, node):
    cluster = etcd(members=1)
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    free = node(cluster, "f", more="hold_mass_removal = false")
    caller = api.Api(writer)
    caller.zone("a.example", vpcs=["vpc-one"], records=[(f"r{n}", "A", "10.0.0.1") for n in range(130)])
    for server in (sidecar, free):
        answers(server, "r129.a.example", ["10.0.0.1"])
    cluster.ctl("del", "/pvtzd/default/v1/data/row/", "--prefix")
    until(lambda: status(sidecar)["fleet"]["state"] == "held", "held", 30)
    until(lambda: values(free, "r1.a.example") == [], "not held", 30)
    assert values(sidecar, "r1.a.example") == ["10.0.0.1"]
    sidecar.stop()
    sidecar = node(cluster, "s")
    until(lambda: status(sidecar)["fleet"]["state"] == "held", "held after a restart", 30)
    assert values(sidecar, "r1.a.example") == ["10.0.0.1"]
    with pytest.raises(api.Refused) as refused:
        caller.call("AddZone", ZoneName="b.example")
    assert "fleet accept" in refused.value.message
    run(writer, "fleet", "accept", "--dry-run")
    assert status(sidecar)["fleet"]["state"] == "held"
    run(writer, "fleet", "accept")
    until(lambda: values(sidecar, "r1.a.example") == [], "accepted", 30)
    until(lambda: caller.attempt("AddZone", ZoneName="b.example")[0] == 200, "writes again", 30)


def test_a_change_too_large_for_a_transaction_is_whole_or_not_there(etcd, node):
    cluster = etcd(members=1)
    writer, sidecar = node(cluster, "w", writes=True), node(cluster, "s")
    file = writer.state / "zones.toml"
    records = "".join(f'[[Zones.Records]]\nRr = "r{n}"\nType = "A"\nValue = "10.0.0.1"\nTtl = 60\n' for n in range(700))
    file.write_text(f'[[Zones]]\nZoneName = "big.example"\nProxyPattern = "ZONE"\n[[Zones.BindVpcs]]\nVpcId = "vpc-one"\n{records}')
    host = api.Api(writer).host
    environment = {"PVTZD_ACCESS_KEY_ID": api.KEY, "PVTZD_ACCESS_KEY_SECRET": api.SECRET}
    done = subprocess.run([program(), "--config", writer.config_file, "import", file, "--endpoint", host],
                          capture_output=True, text=True, env={**environment, "PATH": "/usr/bin"}, timeout=90)
    assert done.returncode == 0, done.stderr
    answers(sidecar, "r699.big.example", ["10.0.0.1"])
    assert values(writer, "r0.big.example") == ["10.0.0.1"]
    head, _ = cluster.head()
    assert "redo" not in head and head["rows"] == len(cluster.keys()) > 700
    assert cluster.keys("redo/") == []
    zone = api.Api(writer).call("DescribeZones")["Zones"]["Zone"][0]["ZoneId"]
    api.Api(writer).call("AddZone", ZoneName="other.example")
    api.Api(writer).call("BindZoneVpc", ZoneId=zone)
    answers(sidecar, "r0.big.example", [])
    api.Api(writer, patience=60).call("DeleteZone", ZoneId=zone)
    assert [zone["ZoneName"] for zone in api.Api(writer).call("DescribeZones")["Zones"]["Zone"]] == ["other.example"]
    until(lambda: status(sidecar)["fleet"]["state"] == "held", "more than half of all rows", 30)
    run(writer, "fleet", "accept")
    until(lambda: status(sidecar)["fleet"]["rows"] < 20, "gone", 30)


def test_what_operators_see(etcd, node):
    cluster = etcd(members=1)
    writer = node(cluster, "w", writes=True)
    api.Api(writer).zone("a.example", vpcs=["vpc-one"])
    until(lambda: cluster.keys("node/"), "it is there")
    shown = run(writer, "fleet", "status").stdout
    assert "head: revision" in shown and "w " in shown, shown
    report = json.loads(run(writer, "fleet", "status", "--json").stdout)
    assert report["nodes"][0]["node"] == "w" and report["members"][0]["leader"]
    if report["members"][0]["version"].startswith("3.4.2"):
        assert any("3.4.36" in warning for warning in report["warnings"])
    assert "role grant-permission pvtzd-sidecar --prefix=true read /pvtzd/default/v1/data/" in run(writer, "fleet", "init", "--dry-run").stdout
    assert "[fleet]" in run(writer, "fleet", "join").stdout
    assert "fleet      w following" in run(writer, "status").stdout
