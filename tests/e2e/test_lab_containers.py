"""The lab for containers and CI jobs: the image's `lab`, the compose file, the GitHub action; all without Docker."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness.process import ROOT, binary
from harness.wait import until
from test_packages import instructions, words

COMPOSE = ROOT / "packaging/compose/compose.yaml"
ACTION = ROOT / "packaging/action"


def image_environment():
    """The variables that the image sets."""
    found = {}
    for word, rest in instructions(ROOT / "packaging/Dockerfile"):
        if word == "ENV":
            found.update(pair.split("=", 1) for pair in rest.split())
    return found


def below(folder, paths):
    """Values with the state of the image in a folder of the test."""
    return {name: value.replace("/state", str(folder)) for name, value in paths.items()}


def bridge(lab, client, subnet="172.30.53"):
    """Two machines on a network, as containers beside each other are."""
    lab.join(client, f"{subnet}.53", f"{subnet}.2")
    lab.run("sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=0")  # as Docker does
    client.resolv_conf.write_text(f"nameserver {subnet}.53\n")


def nobody(folder):
    """The image's user, who owns the state; the folders above are open to it."""
    folder.mkdir()
    os.chown(folder, 65532, 65532)
    for path in folder.parents:
        if path == Path("/tmp"):
            break
        path.chmod(path.stat().st_mode | 0o055)
    return ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--"]


@pytest.fixture
def program(tmp_path):
    """The program, where the image's user can run it."""
    return shutil.copy(binary(), tmp_path / "pvtzd")


def test_a_client_beside_the_lab_of_the_compose_file_finds_it(namespaces, program, tmp_path):
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load(COMPOSE.read_text())
    lab, client = compose["services"]["lab"], compose["services"]["client"]
    files = {f"/{name}": COMPOSE.parent / each["file"] for name, each in compose["configs"].items()}
    files = {each["target"]: files[f"/{each['source']}"] for service in (lab, client) for each in service["configs"]}
    here, beside = namespaces(), namespaces()
    bridge(here, beside)
    state = tmp_path / "state"
    user = nobody(state)
    variables = {**below(state, image_environment()), **lab["environment"], "PATH": os.environ["PATH"]}
    command = [str(files.get(word, word)) for word in lab["command"]]
    process = here.process(*user, program, *command, env=variables)
    health = [program if word == "/pvtzd" else word for word in lab["healthcheck"]["test"][1:]]
    until(lambda: here.run(*health, check=False).returncode == 0, "the lab is healthy")
    settings = [f"{name}={value}" for name, value in below(state, client["environment"]).items()]
    job = [sys.executable if word == "python3" else str(files.get(word, word)) for word in client["command"]]
    done = beside.run("env", *settings, *job)
    names = ["ecs.cn-hangzhou.aliyuncs.com", "pvtz.aliyuncs.com"]
    assert done.stdout.splitlines() == [f"{name} 172.30.53.53 400" for name in names], done.stderr + process.log
    calls = [sys.executable, "-c", CALL, Path(__file__).parent]
    assert json.loads(beside.run("env", *settings, *calls).stdout) == ["vpc-lab"]
    assert process.stop() == 0


CALL = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from harness.lab_api import v1
key = (os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"], None)
answer = v1(("vpc.cn-hangzhou.aliyuncs.com", 80, "2016-04-28"), key, "DescribeVpcs", {"RegionId": "cn-hangzhou"})
print(json.dumps([vpc["VpcId"] for vpc in answer["Vpcs"]["Vpc"] if vpc["IsDefault"]]))
"""


def test_the_image_has_a_lab_for_its_network_by_one_word(namespaces, program, tmp_path):
    here, beside = namespaces(), namespaces()
    bridge(here, beside)
    state = tmp_path / "state"
    variables = {**below(state, image_environment()), "PATH": os.environ["PATH"]}
    told = tmp_path / "told"
    told.touch(0o666)
    told.chmod(0o666)
    process = here.process(*nobody(state), "sh", "-c", f'exec "$0" --json lab >{told}', program, env=variables)
    said = json.loads(until(lambda: told.read_text().endswith("\n") and told.read_text(), "the lab is ready"))
    assert said["dns"] == "172.30.53.53:53" and said["http"] == "http://172.30.53.53:80"
    assert Path(said["ca"]) == state / "pvtzd/lab/ca.pem"
    found = beside.run("dig", "+short", "@172.30.53.53", "popunify-vpc.cn-hangzhou.aliyuncs.com").stdout
    assert found.split() == ["172.30.53.53"]
    assert process.stop() == 0


@pytest.fixture
def action(tmp_path):
    """Runs what the action runs, as a runner does; returns what it said, and what it set for the steps that follow."""
    (tmp_path / "runner").mkdir()
    (tmp_path / "tmp").mkdir()
    files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH")}
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"), "RUNNER_TEMP": str(tmp_path / "runner"),
                 "GITHUB_ACTION_PATH": str(ACTION), **{name: str(file) for name, file in files.items()}}

    def run(**inputs):
        for file in files.values():
            file.write_text("")
        given = {f"LAB_{name.upper()}": value for name, value in inputs.items()}
        done = subprocess.run([str(ACTION / "start")], capture_output=True, text=True, check=False, env=variables | given, timeout=60)
        pairs = {name: dict(line.split("=", 1) for line in files[name].read_text().splitlines()) for name in ("GITHUB_OUTPUT", "GITHUB_ENV")}
        return done, pairs["GITHUB_OUTPUT"], pairs["GITHUB_ENV"], files["GITHUB_PATH"].read_text()

    yield run
    subprocess.run([str(binary()), "lab", "down"], check=False, env=variables, capture_output=True)


OPTIONS = "--region cn-beijing " + " ".join(f"--{part} 127.0.0.1:0" for part in ("dns", "api", "http", "https"))


def test_the_action_starts_a_lab_and_tells_the_steps_that_follow(action):
    done, outputs, variables, path = action(program=str(binary()), options=OPTIONS)
    assert done.returncode == 0, done.stderr
    said = json.loads(outputs["lab"])
    assert {name: outputs[name] for name in ("dns", "api", "http", "https", "ca")} == {name: said[name] for name in ("dns", "api", "http", "https", "ca")}
    assert variables["ALIBABA_CLOUD_REGION_ID"] == "cn-beijing" and variables["ALIBABA_CLOUD_ACCESS_KEY_ID"] == said["access_key_id"]
    secret = variables["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
    assert done.stdout == f"::add-mask::{secret}\n", "nothing else has it"
    assert secret not in str(outputs) and len(secret) > 20
    assert (Path(path.strip()) / "pvtzd").resolve() == Path(binary()).resolve()


def test_the_steps_that_follow_in_our_own_workflow_do_what_they_say(action, tmp_path):
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["action"]
    _, outputs, variables, path = action(program=str(binary()), options=OPTIONS.replace("--region cn-beijing", ""))
    steps = [step for step in job["steps"] if "pvtzd" in step.get("run", "")]
    last = ""
    for step in steps:
        own = {name: outputs[value.split(".")[-1].strip(" }")] for name, value in step.get("env", {}).items()}
        around = {"PATH": f"{path.strip()}:{os.environ['PATH']}", "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
        done = subprocess.run(["bash", "-e", "-c", step["run"]], capture_output=True, text=True, check=False, timeout=60,
                              env=around | variables | own)
        assert done.returncode == 0, done.stdout + done.stderr
        last = last or done.stdout
    assert "192.0.2.1" in last and list((tmp_path / "tmp").iterdir()) == []


def test_the_action_fails_with_the_labs_reason(action):
    done, outputs, variables, _ = action(program=str(binary()), options="--clients 10.0.0.0/33")
    assert done.returncode != 0 and "10.0.0.0/33" in done.stderr
    assert outputs == {} and variables == {}
    done, _, variables, _ = action(program=str(binary()), options=OPTIONS, environment="false")
    assert done.returncode == 0 and variables == {}


def test_the_action_gives_its_program_what_it_declares():
    yaml = pytest.importorskip("yaml")
    declared = yaml.safe_load((ACTION / "action.yml").read_text())
    (step,) = declared["runs"]["steps"]
    script = (ACTION / "start").read_text()
    assert {f"LAB_{name.upper()}" for name in declared["inputs"]} == set(step["env"])
    assert all(name in script for name in step["env"])
    for name, output in declared["outputs"].items():
        assert output["value"] == f"${{{{ steps.start.outputs.{name} }}}}" and name in script


def test_the_words_of_the_image_are_read_as_docker_reads_them():
    assert words('["run"]') == ["run"]
    assert image_environment()["PVTZD_LAB_DNS"] == "0.0.0.0:53"
