"""The commands: what they print, and their exit codes."""

import json
import os
import pty
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness.fake import nxdomain, rcode
from harness.process import ROOT, binary, free_port

GOOD = """
[upstream]
servers = []
[[zone]]
name = "p.example"
[[zone.record]]
name = "www"
type = "CNAME"
value = "a.p.example"
[[zone.record]]
name = "a"
type = "A"
value = "10.0.0.1"
[[expect]]
query = "www.p.example"
answer = ["CNAME a.p.example", "10.0.0.1"]
[[expect]]
query = "none.p.example"
answer = "NXDOMAIN"
[[expect]]
query = "www.test"
answer = "FORWARD"
"""

BAD = """
[server]
listn = ["127.0.0.1:53"]
allow = ["300.0.0.0/8"]
[[zone]]
name = "p.example"
[[zone.record]]
name = "www"
type = "AA"
value = "10.0.0.1"
[[zone]]
name = "p.example"
"""


def pvtzd(*words, **options):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PVTZD")}
    return subprocess.run(
        [binary(), *map(str, words)], capture_output=True, text=True, timeout=20, env=environment, check=False, **options
    )


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "test.toml"
        path.write_text(text)
        return path

    return write


def test_check_of_a_good_file(file):
    done = pvtzd("check", "--config", file(GOOD))
    assert done.returncode == 0, done.stderr
    assert "3 of 3 expectations met" in done.stdout


def test_check_tells_every_fault_with_its_place_and_what_to_write(file):
    path = file(BAD)
    done = pvtzd("check", "--config", path)
    assert done.returncode == 78
    for place in (":3:1", ":4:10", ":9:8", ":12:8"):
        assert f"{path}{place}" in done.stderr, done.stderr
    assert "did you mean `listen`?" in done.stderr
    assert "4 errors" in done.stdout


def test_check_as_json(file):
    bad = pvtzd("check", "--json", "--config", file(BAD))
    report = json.loads(bad.stdout)
    assert (bad.returncode, report["ok"]) == (78, False)
    assert [(fault["line"], fault["key"]) for fault in report["faults"]] == [
        (3, "server.listn"),
        (4, "server.allow[0]"),
        (9, "zone[0].record[0].type"),
        (12, "zone[1].name"),
    ]
    good = pvtzd("check", "--json", "--config", file(GOOD))
    report = json.loads(good.stdout)
    assert (good.returncode, report["ok"]) == (0, True)
    assert all(row["met"] for row in report["expectations"])


def test_check_of_expectations_that_are_not_met(file):
    path = file(GOOD.replace('answer = "NXDOMAIN"', 'answer = "10.0.0.9"'))
    done = pvtzd("check", "--config", path)
    assert done.returncode == 1
    assert "expectation not met" in done.stderr and "none.p.example" in done.stderr
    assert "2 of 3 expectations met" in done.stdout
    report = json.loads(pvtzd("check", "--json", "--config", path).stdout)
    assert [row["met"] for row in report["expectations"]] == [True, False, True]


def test_check_of_a_file_that_is_not_there_and_of_one_that_is_not_toml(file, tmp_path):
    missing = pvtzd("check", "--config", tmp_path / "none.toml")
    assert missing.returncode == 78 and "none.toml" in missing.stderr
    broken = pvtzd("check", "--config", file("[server\nlisten ="))
    assert broken.returncode == 78 and ":1:" in broken.stderr


@pytest.mark.parametrize("sample", ["pvtzd.toml", "lab.toml", "fallback.toml", "installed.toml", "container.toml"])
def test_the_samples_are_clean(sample):
    done = pvtzd("check", "--json", "--config", ROOT / "config" / sample)
    report = json.loads(done.stdout)
    assert (done.returncode, report["faults"]) == (0, []), done.stderr


def test_every_sample_is_known_here():
    samples = {path.name for path in (ROOT / "config").glob("*.toml")} - {"endpoints.toml", "availability-zones.toml"}
    assert samples == {"pvtzd.toml", "lab.toml", "fallback.toml", "installed.toml", "container.toml"}


def test_a_broken_configuration_does_not_start(file):
    done = pvtzd("--config", file(BAD), "--metadata", "off")
    assert done.returncode == 78
    assert "4 faults; not started" in done.stderr and "listn" in done.stderr


def test_explain_tells_the_whole_path(file):
    done = pvtzd("explain", "www.p.example", "--config", file(GOOD))
    assert done.returncode == 0
    for words in ("private zone p.example", "CNAME a.p.example", "A 10.0.0.1", "result: NOERROR"):
        assert words in done.stdout, done.stdout
    forwarded = pvtzd("explain", "www.test", "TXT", "--config", file(GOOD))
    assert "no upstream is configured" in forwarded.stdout


def test_explain_as_json_and_for_a_client():
    lab = ROOT / "config" / "lab.toml"
    one = json.loads(pvtzd("explain", "www.app.example", "--json", "--config", lab).stdout)
    other = json.loads(pvtzd("explain", "www.app.example", "--json", "--client", "127.200.0.1", "--config", lab).stdout)
    assert (one["vpc"], other["vpc"]) == ("vpc-hangzhou", "vpc-shanghai")
    assert [record["value"] for record in other["records"]] == ["198.51.100.1"]
    assert (one["result"], one["asks"]) == ("NOERROR", None)
    rule = json.loads(pvtzd("explain", "host.corp.example", "--json", "--config", lab).stdout)
    assert rule["result"] == "FORWARD" and rule["asks"]["servers"] == "127.0.0.1:5399"
    outside = json.loads(pvtzd("explain", "a.test", "--json", "--client", "192.0.2.1", "--config", lab).stdout)
    assert outside["result"] == "REFUSED"


def test_explain_agrees_with_the_server(start):
    server = start((ROOT / "config" / "lab.toml").read_text().split("[upstream]")[0] + tail())
    for name, client in (
        ("ecs.cn-hangzhou.aliyuncs.com", "127.0.0.1"),
        ("www.app.example", "127.200.0.1"),
        ("any.app.example", "127.200.0.1"),
        ("any.app.example", "127.0.0.1"),
    ):
        told = json.loads(
            pvtzd("explain", name, "--json", "--client", client, "--config", server.config_file).stdout
        )
        answer = server.ask(name, source=client)
        assert told["result"] == answer.rcode
        assert sorted(record["value"] for record in told["records"]) == sorted(answer.values)


def tail():
    """What follows [upstream] in lab.toml; the harness writes that section itself."""
    text = (ROOT / "config" / "lab.toml").read_text()
    return text[text.index("[[vpc]]") :]


def test_query_and_its_exit_codes(start, fake):
    upstream = fake()
    server = start(GOOD.replace("[upstream]\nservers = []\n", ""), upstream=[upstream])
    where = f"127.0.0.1:{server.port}"
    for name, code, words in (
        ("www.p.example", 0, "a.p.example  60  A  10.0.0.1"),
        ("www.test", 0, "www.test  60  A  192.0.2.1"),
        ("none.p.example", 1, ""),
    ):
        done = pvtzd("query", name, "--server", where)
        assert done.returncode == code and words in done.stdout, (done.stdout, done.stderr)
    assert pvtzd("query", "a.p.example", "AAAA", "--server", where).returncode == 0
    upstream.script = rcode("SERVFAIL")
    failed = pvtzd("query", "bad.test", "--server", where)
    assert failed.returncode == 1 and "SERVFAIL" in failed.stderr and "extended error" in failed.stderr
    over_tcp = json.loads(pvtzd("query", "a.p.example", "--tcp", "--json", "--server", where).stdout)
    assert (over_tcp["transport"], over_tcp["result"]) == ("TCP", "NOERROR")
    refused = pvtzd("query", "other.test", "--no-recursion", "--server", where)
    assert refused.returncode == 1 and "REFUSED" in refused.stderr
    upstream.script = nxdomain()
    assert pvtzd("query", "gone.test", "--server", where).returncode == 1


def test_query_of_nobody():
    done = pvtzd("query", "www.test", "--server", f"127.0.0.1:{free_port()}")
    assert done.returncode == 4
    assert "no answer from" in done.stderr and "hint:" in done.stderr


def test_wrong_usage():
    for words in (["--nosuch"], ["frobnicate"], ["explain"], ["explain", "a..b"], ["query", "a.test", "NOTYPE"]):
        done = pvtzd(*words)
        assert done.returncode == 2, words
        assert done.stderr and not done.stdout


def test_help_and_version():
    assert re.fullmatch(r"pvtzd \d+\.\d+\.\d+\n", pvtzd("--version").stdout)
    text = pvtzd("--help").stdout
    for word in ("run", "check", "explain", "query", "Exit codes"):
        assert word in text


def test_on_a_terminal_it_says_what_it_does_and_a_line_to_try(file):
    ours, theirs = pty.openpty()
    command = [binary(), "--config", file(GOOD), "--metadata", "off", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=theirs, stdin=subprocess.DEVNULL) as process:
        os.close(theirs)
        said = ""
        while not re.search(r"try +dig .*\n", said):
            said += os.read(ours, 4096).decode()
        assert "listens on 127.0.0.1:" in said and "no upstream server" in said and "p.example" in said
        line = re.search(r"try +(dig .*)\r?\n", said).group(1).split()
        done = subprocess.run([*line, "+time=5"], capture_output=True, text=True, timeout=20, check=True)
        assert "status: NOERROR" in done.stdout
        process.terminate()
        assert process.wait(10) == 0
    os.close(ours)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_port_that_is_taken(kind, file):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        port = sock.getsockname()[1]
        done = pvtzd("--config", file(GOOD), "--metadata", "off", "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr and "--listen" in done.stderr


def test_a_second_instance_on_the_same_port(start, file):
    first = start(GOOD.replace("[upstream]\nservers = []\n", ""))
    done = pvtzd("--config", file(GOOD), "--metadata", "off", "--listen", f"127.0.0.1:{first.port}")
    assert done.returncode == 3 and f"(pid {first.pid})" in done.stderr and "pvtzd" in done.stderr
    assert first.ask("a.p.example").values == ["10.0.0.1"]


def test_a_port_of_ipv6_on_a_machine_without_it(namespace, file):
    namespace.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    done = namespace.run(
        binary(), "--config", file(GOOD), "--metadata", "off", "--listen", "[::1]:5335", check=False
    )
    assert done.returncode == 3 and "no interface of this machine has the address ::1" in done.stderr


def test_a_privileged_port_without_the_right_to_it(namespace):
    namespace.run("sysctl", "-q", "-w", "net.ipv4.ip_unprivileged_port_start=1024")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program, config = Path(folder) / "pvtzd", Path(folder) / "test.toml"
        shutil.copy(binary(), program)
        config.write_text(GOOD)
        words = ["--config", config, "--metadata", "off", "--listen", "127.0.0.1:53"]
        unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program]
        done = namespace.run(*unprivileged, *words, check=False)
    assert done.returncode == 3, done.stderr
    assert "cannot listen on 127.0.0.1:53" in done.stderr
    assert "CAP_NET_BIND_SERVICE" in done.stderr and "setcap" in done.stderr
