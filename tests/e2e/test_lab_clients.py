"""`pvtzd lab` for clients elsewhere: who may ask, and where the names lead."""

import json
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
        line = process.stdout.readline()
        assert line, process.stderr.read()
        start.said = json.loads(line)
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


@pytest.mark.parametrize("told", [False, True])
def test_the_console_is_served_to_others_by_tls_or_when_told(lab, told):
    here, beside = lab("--clients", "10.99.0.0/24", *(["--console-beyond-loopback"] if told else []))
    said = lab.said

    def status(address, *words):
        curl = ["curl", "-skm", "5", "-o", "/dev/null", "-w", "%{http_code}", *words, f"{address}/console/"]
        return beside.run(*curl, check=False).stdout

    assert status(said["https"]) == "200"
    assert status(said["api"]) == ("200" if told else "404")
    assert said["console"] == (said["api"] if told else said["https"]) + "/console/"
    for address in (said["https"], said["api"]) if told else (said["https"],):
        assert status(address, "-H", "Host: evil.example") == "421"
        assert status(address, "-H", "Host: localhost:15380") == "200", "as through a published port"
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": said["access_key_id"], "ALIBABA_CLOUD_ACCESS_KEY_SECRET": said["access_key_secret"]}
    command = [*here.prefix, binary(), "console", "--json", "--endpoint", said["api"].removeprefix("http://")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, env={"PATH": os.environ["PATH"], **key})
    assert json.loads(done.stdout)["address"].startswith(said["console"] + "#code="), done.stdout


@pytest.mark.parametrize("odd", ["x", "10.0.0.0/33", ""])
def test_what_is_no_network_is_told(odd, tmp_path):
    words = [binary(), "lab", "--clients", odd]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20, env={"HOME": str(tmp_path)})
    assert done.returncode == 2 and "--clients" in done.stderr
