"""`pvtzd lab` for clients elsewhere: who may ask, and where the names lead."""

import os
import subprocess

import pytest
from harness.process import binary

INSIDE = "popunify-vpc.cn-hangzhou.aliyuncs.com"
ANYWHERE = [word for option in ("--api", "--http", "--https") for word in (option, "0.0.0.0:0")]


@pytest.fixture
def lab(namespaces, tmp_path):
    """A lab on one machine, and a machine beside it; `lab(words)` returns the latter."""
    running = []

    def start(*words):
        here, beside = namespaces(), namespaces()
        here.join(beside)
        command = [*here.prefix, binary(), "lab", "--json", "--dns", "0.0.0.0:5335", *ANYWHERE, *words]
        variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)
        running.append(process)
        assert process.stdout.readline(), process.stderr.read()
        return here, beside

    yield start
    for process in running:
        process.kill()
        process.communicate()


def dig(machine, server, name):
    words = ("dig", f"@{server}", "-p", "5335", "+tries=1", "+noall", "+comments", "+answer", name)
    return machine.run(*words, check=False).stdout


@pytest.mark.parametrize("network", ["10.99.0.0/24", "10.99.0.2", "192.0.2.1,10.99.0.0/24"])
def test_clients_elsewhere_may_ask_and_reach_where_the_names_lead(lab, network):
    here, beside = lab("--clients", network)
    assert "\t10.99.0.1\n" in dig(beside, "10.99.0.1", INSIDE)
    assert "\t10.99.0.1\n" in dig(here, "127.0.0.1", INSIDE), "which clients on this machine reach too"


def test_without_clients_they_are_refused_and_the_names_lead_to_this_machine(lab):
    here, beside = lab()
    assert "REFUSED" in dig(beside, "10.99.0.1", INSIDE)
    assert "\t127.0.0.1\n" in dig(here, "127.0.0.1", INSIDE)


@pytest.mark.parametrize("odd", ["x", "10.0.0.0/33", ""])
def test_what_is_no_network_is_told(odd, tmp_path):
    words = [binary(), "lab", "--clients", odd]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20, env={"HOME": str(tmp_path)})
    assert done.returncode == 2 and "--clients" in done.stderr
