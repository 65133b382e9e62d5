"""The lab: by itself, walked through, and as an instance for one command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from harness.ask import ask
from harness.lab import SOMEBODY, environment, execute, instances
from harness.process import ROOT, binary

NAME = "ecs.cn-hangzhou.aliyuncs.com"
PUBLIC = "203.0.113.10"
ANY = [word for option in ("--dns", "--api", "--http", "--https") for word in (option, "127.0.0.1:0")]
JOB = ROOT / "tests/e2e/harness/sdk_regions.py"


class RunningLab:
    """`pvtzd lab --json`, with what it says of itself."""

    def __init__(self, state, *words):
        self.process = subprocess.Popen(
            [binary(), "lab", "--json", *ANY, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(state),
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.said = json.loads(line)
        host, port = self.said["dns"].rsplit(":", 1)
        self.dns = (host, int(port))

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.communicate(timeout=10)
        return self.process.returncode


@pytest.fixture
def lab(tmp_path):
    running = []

    def start(*words, state=tmp_path / "state"):
        running.append(RunningLab(state, *words))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.communicate()


# --- by itself ------------------------------------------------------------------------------------------------


def test_it_starts_answers_and_stops(lab):
    one = lab()
    assert ask(one.dns, NAME).values == [PUBLIC]
    assert ask(one.dns, "popunify-vpc.cn-hangzhou.aliyuncs.com").values == ["127.0.0.1"]
    assert ask(one.dns, "www.example.com").rcode == "NXDOMAIN"
    assert one.stop(signal.SIGINT) == 0
    assert lab().stop(signal.SIGTERM) == 0


def test_key_and_ca_stay_and_two_labs_share_them(lab):
    first, second = lab(), lab()
    ours = ("access_key_id", "access_key_secret", "ca")
    assert [first.said[name] for name in ours] == [second.said[name] for name in ours]
    assert first.said["access_key_id"].startswith("LAB")
    kept = Path(first.said["ca"]).parent
    modes = {path.name: path.stat().st_mode & 0o777 for path in kept.iterdir() if path.is_file()}
    public = {"ca.pem": 0o644, "truststore.p12": 0o644}
    assert modes == {"access-key.json": 0o600, "ca-and-key.pem": 0o600, **public}


def test_a_taken_port_is_told(lab, tmp_path):
    one = lab()
    words = [one.said["http"].removeprefix("http://") if before == "--http" else word for before, word in zip(["", *ANY], ANY)]
    done = subprocess.run(
        [binary(), "lab", *words], capture_output=True, text=True, timeout=10, env=environment(tmp_path), check=False
    )
    assert done.returncode == 3
    assert "choose another by --http" in done.stderr


def curl(*words, **options):
    return subprocess.run(["curl", "-sS", "-m", "10", *words], capture_output=True, text=True, check=False, **options)


def test_the_stub_shows_a_certificate_of_the_labs_ca(lab):
    one = lab()
    to_stub = ["--connect-to", f"{NAME}:443:{one.said['https'].removeprefix('https://')}", f"https://{NAME}/"]
    direct = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    trusting = curl("--cacert", one.said["ca"], *to_stub, env=direct)
    assert trusting.returncode == 0, trusting.stderr
    assert '"Code":"Missing' in trusting.stdout.replace(" ", "") or "<Code>Missing" in trusting.stdout
    strict = {key: value for key, value in direct.items() if key not in ("CURL_CA_BUNDLE", "SSL_CERT_FILE")}
    assert curl(*to_stub, env=strict).returncode == 60, "nobody else trusts it"


def test_zones_of_the_api_are_kept_where_a_state_directory_is_named(lab, tmp_path):
    assert not (tmp_path / "kept/account.redb").exists()
    assert lab("--state-dir", tmp_path / "kept").stop() == 0
    assert (tmp_path / "kept/account.redb").exists()


def test_vpcs_by_client_address_from_a_configuration(lab, tmp_path):
    file = tmp_path / "lab.toml"
    file.write_text(
        """
        [endpoints]
        products = []
        [[vpc]]
        id = "vpc-a"
        clients = ["127.0.0.0/8"]
        [[vpc]]
        id = "vpc-b"
        clients = ["127.9.0.0/16"]
        [[zone]]
        name = "ecs.cn-hangzhou.aliyuncs.com"
        vpcs = ["vpc-b"]
        [[zone.record]]
        name = "@"
        type = "CNAME"
        value = "ecs-vpc.cn-hangzhou.aliyuncs.com"
        """
    )
    one = lab("--config", file)
    assert ask(one.dns, NAME).values == [PUBLIC]
    assert ask(one.dns, NAME, source="127.9.0.1").values == ["ecs-vpc.cn-hangzhou.aliyuncs.com", "127.0.0.1"]


# --- walked through -------------------------------------------------------------------------------------------


def walk(state, *words):
    return subprocess.run(
        [binary(), "lab", "--walkthrough", *words],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment(state),
        check=False,
    )


def test_the_recipe_can_be_walked_through(tmp_path):
    done = walk(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BindZoneVpc" in done.stdout and "All 10 steps went as documented." in done.stdout
    assert "\x1b" not in done.stdout, "no colours but on a terminal"


def test_the_walk_is_told_to_programs_too(tmp_path):
    done = walk(tmp_path, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["ok"]
    assert all(step["ok"] for step in told["steps"])
    assert any("DescribeRegions" in step["request"] and "https" in step["request"] for step in told["steps"])


# --- as an instance -------------------------------------------------------------------------------------------


# Somebody else altogether.
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


@pytest.fixture(params=["caller", "somebody"])
def instance(request, tmp_path):
    """Runs a command by `lab exec`: as who runs the tests, and as a plain user."""

    def run(*command, options=(), timeout=60, **more):
        prefix = SOMEBODY if request.param == "somebody" else []
        return execute(tmp_path, *command, options=options, prefix=prefix, timeout=timeout, **more)

    return run


@instances
def test_ping_reaches_the_api_name(instance):
    done = instance("ping", "-c1", "-W2", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(100.100.0.80)" in done.stdout


@instances
def test_without_privatezone_the_name_is_public_and_silent(instance):
    script = f"dig +short {NAME}; ping -c1 -W1 {NAME}"
    done = instance("sh", "-c", script, options=["--without-privatezone"])
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == PUBLIC
    assert "100% packet loss" in done.stdout


@instances
def test_every_name_that_clients_ask_is_mapped(instance):
    names = [NAME, "ecs-cn-hangzhou.aliyuncs.com", "ecs.aliyuncs.com", "sts.aliyuncs.com", "pvtz.aliyuncs.com"]
    done = instance("sh", "-c", "for name in $@; do dig +short $name A | tail -1; done", "sh", *names)
    assert done.stdout.split() == ["100.100.0.80"] * len(names)
    # a region for which only the product's own name is documented
    done = instance("dig", "+short", "ecs.us-east-1.aliyuncs.com", options=["--region", "us-east-1"])
    assert done.stdout.split() == ["ecs-vpc.us-east-1.aliyuncs.com.", "100.100.0.80"]


@instances
def test_the_official_python_sdk_lists_regions_over_https(instance):
    done = instance(sys.executable, JOB)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ecs-cn-hangzhou.aliyuncs.com ")
    assert " cn-hangzhou " in done.stdout


@instances
def test_the_official_python_sdk_times_out_without_privatezone(instance):
    done = instance(sys.executable, JOB, options=["--without-privatezone"])
    assert done.returncode == 1
    assert "timed out" in done.stderr


@instances
def test_status_and_arguments_are_the_commands_own(instance):
    assert instance("sh", "-c", "exit 7").returncode == 7
    assert instance("sh", "-c", "kill -9 $$").returncode == 137
    assert instance("no-such-command").returncode == 127
    done = instance("printf", "%s|", "a b", "--json", "-h", input="")
    assert (done.returncode, done.stdout) == (0, "a b|--json|-h|")
    assert instance("cat", input="through\n").stdout == "through\n"


@instances
def test_the_command_runs_as_its_caller(instance, tmp_path):
    done = instance("sh", "-c", f"id -u; id -g; echo x >{tmp_path}/made; pwd", cwd=tmp_path)
    uid, gid, cwd = done.stdout.split()
    assert (uid, gid) in (("1000", "1000"), (str(os.getuid()), str(os.getgid())))
    assert cwd == str(tmp_path)
    assert (tmp_path / "made").stat().st_uid == os.getuid()


@instances
def test_the_environment_leads_clients_to_the_lab(instance):
    done = instance(sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")
    variables = json.loads(done.stdout)
    assert "HTTPS_PROXY" not in variables and "https_proxy" not in variables
    assert variables["ALIBABA_CLOUD_REGION_ID"] == "cn-hangzhou"
    assert variables["ALIBABA_CLOUD_ACCESS_KEY_ID"].startswith("LAB")
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        read = instance("cat", variables[name])
        assert "BEGIN CERTIFICATE" in read.stdout, name


@instances
def test_curl_trusts_the_stub_without_being_told(instance):
    for clean in ([], ["env", "-i", "PATH=/usr/bin:/bin"]):
        done = instance(*clean, "curl", "-sS", "-m", "5", f"https://{NAME}/")
        assert done.returncode == 0 and "Missing" in done.stdout, done.stderr


@instances
def test_nothing_else_is_reachable(instance):
    script = """
import socket
for address in ("203.0.113.10", "192.0.2.1", "10.0.0.1", "1.1.1.1"):
    probe = socket.socket()
    probe.settimeout(0.5)
    try:
        probe.connect((address, 443))
        print(address, "answered")
    except OSError as error:
        print(type(error).__name__)
"""
    done = instance(sys.executable, "-c", script)
    assert done.stdout.split() == ["TimeoutError"] * 4, done.stdout
    assert instance("getent", "hosts", "www.example.com").returncode == 2


@instances
def test_pvtzd_is_the_only_nameserver_and_the_vpcs_resolvers_know_no_private_zones(instance):
    done = instance("sh", "-c", f"grep ^nameserver /etc/resolv.conf; dig +short @100.100.2.136 {NAME}; dig +short @100.100.2.138 {NAME}")
    assert done.stdout.splitlines() == ["nameserver 127.0.0.1", PUBLIC, PUBLIC]


METADATA = "http://100.100.100.200/latest"


@instances
def test_the_metadata_service_tells_where_the_instance_is(instance):
    items = " ".join(f"{METADATA}/meta-data/{item}" for item in ("region-id", "vpc-id", "private-ipv4"))
    done = instance("sh", "-c", f"for item in {items}; do curl -sS $item; echo; done", options=["--region", "cn-beijing", "--vpc", "vpc-x"])
    assert done.stdout.split() == ["cn-beijing", "vpc-x", "172.16.0.10"]


@instances
def test_the_hardened_metadata_service_wants_a_token(instance):
    script = f"""
    curl -s -o /dev/null -w '%{{http_code}}\\n' {METADATA}/meta-data/region-id
    token=$(curl -sS -X PUT -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 60' {METADATA}/api/token)
    curl -sS -H "X-aliyun-ecs-metadata-token: $token" {METADATA}/meta-data/region-id
    """
    assert instance("sh", "-c", script, options=["--hardened"]).stdout.split() == ["403", "cn-hangzhou"]


@instances
def test_the_host_keeps_its_files(instance):
    before = Path("/etc/resolv.conf").read_text() if Path("/etc/resolv.conf").exists() else None
    assert instance("true").returncode == 0
    assert (Path("/etc/resolv.conf").read_text() if Path("/etc/resolv.conf").exists() else None) == before
    mounts = Path("/proc/self/mounts").read_text()
    assert "pvtzd" not in mounts


def test_a_region_that_does_not_exist_is_told(tmp_path):
    done = subprocess.run(
        [binary(), "lab", "exec", "--region", "mars", "--", "true"], capture_output=True, text=True, env=environment(tmp_path), check=False
    )
    assert done.returncode == 2 and "no region `mars`" in done.stderr


def test_where_namespaces_are_not_allowed_it_says_what_to_do(tmp_path):
    (tmp_path / "unshare").write_text("#!/bin/sh\necho 'unshare: Operation not permitted' >&2\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    variables = {**environment(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([binary(), "lab", "exec", "--", "true"], capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 71
    assert "Operation not permitted" in done.stderr and "hint: " in done.stderr


def test_the_half_in_the_namespaces_refuses_to_run_outside(tmp_path):
    own = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt")]
    for outside in (own, ["net:[1]", own[1]], [own[0], "mnt:[1]"]):
        words = [binary(), "lab", "inside", "--outside", *outside, "--", "true"]
        done = subprocess.run(words, capture_output=True, text=True, env=environment(tmp_path), check=False)
        assert done.returncode == 71 and "not separate namespaces" in done.stderr


@instances
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_go_to_the_command(tmp_path, number):
    # Without a terminal, so that SIGINT is nobody's keyboard's.
    script = "import signal, sys\n"
    script += f"signal.signal({int(number)}, lambda *_: sys.exit(42))\nprint('ready', flush=True)\nsignal.pause()\n"
    process = subprocess.Popen(
        [*SOMEBODY, binary(), "lab", "exec", "--", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        start_new_session=True,
    )
    guard = threading.Timer(30, process.kill)
    guard.start()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(20) == 42
    guard.cancel()


@instances
def test_the_command_does_not_outlive_its_instance(tmp_path):
    process = subprocess.Popen(
        [*SOMEBODY, binary(), "lab", "exec", "--", "sh", "-c", "echo ready; exec sleep 1000"],
        stdout=subprocess.PIPE,
        env=environment(tmp_path),
    )
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait(10)
    assert process.stdout.read() == b"", "its output is closed once it has ended"


@instances
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_real_plain_user_without_a_home(tmp_path):
    program = tmp_path / "pvtzd"
    shutil.copy(binary(), program)
    for path in (program, tmp_path, *tmp_path.parents):
        if path == Path(tempfile.gettempdir()):
            break
        path.chmod(0o755)
    own = tmp_path / "own"
    own.mkdir()
    own.chmod(0o777)
    variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": str(own)}
    done = subprocess.run(
        [*NOBODY, program, "lab", "exec", "--", "sh", "-c", f"id -u; ping -c1 -W2 {NAME}"],
        capture_output=True,
        text=True,
        env=variables,
        cwd="/",
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("65534\n")
    assert (own / "pvtzd-lab-65534").stat().st_mode & 0o777 == 0o700
