"""`pvtzd doctor`: each thing that can be wrong with an instance is found, with what to do."""

import json
import re
import socket
import time

import dns.exception
import dns.message
import dns.query
import pytest
from harness.fake import silent
from harness.instance import API_NAMES, GATEWAY, METADATA, RESOLVERS, private_zone
from harness.process import ROOT

NAME = "ecs.cn-hangzhou.aliyuncs.com"
STEPS = [
    *("configuration", "metadata", "catalogue", "port", "pvtzd", "state", "resolver"),
    *("upstream", "loop", "chain", "privatezone", "api"),
]


@pytest.fixture
def healthy(instance):
    """An instance on which everything is as it should be, but for what the test changes."""

    def make(config=None, script=None, resolvers=RESOLVERS, region="cn-hangzhou", names=API_NAMES, take=True, **options):
        instance.manager("plain")
        instance.cloud(**({"script": script} if script else {}), resolvers=resolvers)
        if region:
            instance.metadata(region)
        if names:
            instance.api(names)
        instance.config(config)
        instance.server = instance.start(**options)
        if take:
            instance.pvtzd("resolver", "take", "--force", code=0)
        return instance

    return make


def of(checks, step, outcome=None):
    """What was found in a step."""
    return [check for check in checks if check["step"] == step and outcome in (None, check["outcome"])]


def test_all_is_well(healthy):
    machine = healthy()
    done = machine.pvtzd("doctor", code=0)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("pass", "warn", "FAIL", "skip"))]
    assert all(line.startswith("pass") for line in lines), done.stdout
    order = list(dict.fromkeys(line.split()[1] for line in lines))
    assert [step for step in order if step != "certificate"] == STEPS, "always in this order"
    assert f"{NAME} -> popunify-vpc.cn-hangzhou.aliyuncs.com -> {GATEWAY}" in done.stdout
    assert "0 failed" in done.stdout
    report = json.loads(machine.pvtzd("doctor", "--json", code=0).stdout)
    assert report["ok"] and len(report["checks"]) == len(lines)


def test_the_steps_are_those_of_the_documents():
    text = (ROOT / "docs" / "troubleshooting.md").read_text().split("## The doctor's steps")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert documented == [*STEPS, "certificate"]


def test_nobody_answers_anything(instance):
    """Every address is there and silent: the whole is over within 15 s."""
    instance.manager("plain")
    instance.cloud(silent)
    instance.namespace.address(METADATA)
    with instance.namespace.inside():
        hanging = socket.create_server((METADATA, 80))
    instance.config()
    begun = time.monotonic()
    steps, checks = instance.doctor(code=1)
    assert time.monotonic() - begun < 15
    assert steps["upstream"] == ["fail", "fail"] and steps["chain"] == ["skip"] and steps["pvtzd"] == ["fail"]
    assert all(check["advice"] for check in of(checks, "upstream"))
    hanging.close()


def test_pvtzd_that_answers_while_nothing_else_does(healthy):
    machine = healthy(script=silent, region=None, names=None)
    begun = time.monotonic()
    steps, checks = machine.doctor(code=1)
    assert time.monotonic() - begun < 15
    assert steps["pvtzd"] == ["pass"] and set(steps["chain"]) <= {"fail", "skip"} and steps["api"] == ["skip"]
    assert "SERVFAIL" in of(checks, "chain")[0]["found"]


def test_private_zone_is_at_work_already(healthy):
    _, checks = healthy(script=private_zone).doctor(code=0)
    (found,) = of(checks, "privatezone")
    assert found["outcome"] == "warn" and "pvtzd compare --with" in found["advice"] and NAME in found["found"]


def test_not_inside_a_vpc(instance):
    instance.manager("plain")
    steps, checks = instance.doctor("--vpc-resolver", "127.0.0.9:53", "--metadata", "off", code=1)
    assert steps["privatezone"] == steps["metadata"] == ["skip"]
    assert "not inside a VPC" in of(checks, "privatezone")[0]["found"]


def test_another_program_has_the_port(instance):
    instance.manager("plain")
    instance.cloud()
    instance.config()
    program = (
        "import socket, sys\n"
        "udp = socket.socket(type=socket.SOCK_DGRAM)\n"
        "udp.bind(('127.0.0.1', 53))\n"
        "tcp = socket.create_server(('127.0.0.1', 53))\n"
        "print('up', file=sys.stderr, flush=True)\n"
        "tcp.accept()\n"
        "tcp.accept()\n"
    )
    other = instance.namespace.process("python3", "-c", program)
    try:
        other.logged("up")
        _, checks = instance.doctor(code=1)
        (found, *_) = of(checks, "port")
        assert found["outcome"] == "fail" and "python3" in found["found"] and f"(pid {other.pid})" in found["found"]
        assert "stop that program" in found["advice"]
    finally:
        other.kill()


def test_both_side_by_side(healthy):
    machine = healthy(take=False)
    machine.file("resolv.conf", f"nameserver 127.0.0.1\nnameserver {RESOLVERS[0]}\noptions rotate\n")
    _, checks = machine.doctor(code=1)
    (found,) = of(checks, "resolver")
    assert "some bypass it" in found["found"] and "pvtzd resolver take" in found["advice"]


def test_an_upstream_that_leads_back(healthy, instance):
    """A resolver that asks the machine itself."""

    def back(asked):
        with instance.namespace.inside():
            try:
                return dns.query.udp(dns.message.from_wire(asked.packet), "127.0.0.1", 3)
            except (OSError, dns.exception.DNSException):
                return None

    _, checks = healthy(script=back, names=None).doctor(code=1)
    assert [check["outcome"] for check in of(checks, "loop")] == ["fail", "fail"]
    assert "forwards to pvtzd" in of(checks, "loop")[0]["found"]


def test_one_upstream_of_two_is_down(healthy):
    _, checks = healthy(resolvers=RESOLVERS[:1]).doctor(code=1)
    assert [check["outcome"] for check in of(checks, "upstream")] == ["pass", "fail"]
    assert "security group" in of(checks, "upstream", "fail")[0]["advice"]


def test_a_region_without_the_target(healthy):
    _, checks = healthy(region="us-west-1", names=None).doctor(code=1)
    (found,) = of(checks, "catalogue", "fail")
    assert "us-west-1" in found["found"] and "product-vpc" in found["found"] + found["advice"]


def test_a_certificate_for_other_names(healthy):
    _, checks = healthy(names=["popunify-vpc.cn-hangzhou.aliyuncs.com"]).doctor(code=1)
    failed = of(checks, "certificate", "fail")
    assert failed and all("is for popunify-vpc.cn-hangzhou.aliyuncs.com" in check["found"] for check in failed)
    assert all(check["outcome"] == "pass" for check in of(checks, "api"))


def test_a_certificate_that_the_system_does_not_trust(healthy):
    machine = healthy()
    machine.environment["SSL_CERT_FILE"] = "/nonexistent"
    _, checks = machine.doctor(code=0)
    assert {check["outcome"] for check in of(checks, "certificate")} == {"warn"}, "nothing to trust by in this /etc"
    assert "not verified" in of(checks, "certificate")[0]["found"]
    machine.environment["SSL_CERT_FILE"] = str(machine.other_authority())
    _, checks = machine.doctor(code=1)
    assert {check["outcome"] for check in of(checks, "certificate")} == {"fail"}
    assert "its chain is invalid" in of(checks, "certificate")[0]["found"]


def test_an_api_that_cannot_be_reached(healthy):
    machine = healthy(names=None)
    machine.namespace.address(GATEWAY)
    _, checks = machine.doctor(code=1)
    assert any("Connection refused" in check["found"] for check in of(checks, "api", "fail"))


def test_a_faulty_configuration(instance):
    instance.manager("plain")
    instance.config("[server]\nlisten = 5\n")
    done = instance.pvtzd("doctor", code=1)
    assert "FAIL  configuration" in done.stdout and "pvtzd check" in done.stdout and "listen" in done.stderr
    report = json.loads(instance.pvtzd("doctor", "--json", code=1).stdout)
    assert [check["step"] for check in report["checks"]] == ["configuration"]


def test_a_plain_run_that_serves_nobody_is_no_fault_of_the_resolver(instance):
    instance.manager("plain")
    instance.cloud()
    instance.metadata()
    instance.api()
    instance.config('[server]\nlisten = ["127.0.0.1:5335"]\n')
    instance.start()
    steps, checks = instance.doctor(code=0)
    assert steps["resolver"] == ["skip"] and steps["chain"][0] == "pass"
    assert "5335" in of(checks, "resolver")[0]["found"]
