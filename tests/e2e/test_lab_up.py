"""`pvtzd lab up` and `pvtzd lab down`: a lab in the background, for other processes and other network namespaces."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from harness.ask import ask
from harness.process import binary
from harness.wait import until

PORTS = [word for option in ("--dns", "--api", "--http", "--https") for word in (option, "127.0.0.1:0")]
NAME = "ecs.cn-hangzhou.aliyuncs.com"


@pytest.fixture
def pvtzd(tmp_path):
    """Runs the program with a home and a temporary directory of its own; what is up is ended after the test."""
    (tmp_path / "tmp").mkdir()
    variables = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"), "PATH": os.environ["PATH"]}

    def run(*words, prefix=(), **more):
        command = [*map(str, prefix), str(binary()), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=variables | more)

    run.left = lambda: sorted(str(path.relative_to(tmp_path / "tmp")) for path in (tmp_path / "tmp").rglob("*"))
    run.folder = tmp_path / "tmp" / f"pvtzd-up-{os.getuid()}"
    run.variables = variables
    yield run
    run("lab", "down")


def up(pvtzd, *words, **more):
    done = pvtzd("lab", "up", *words, **more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    return json.loads(done.stdout)


def place(url):
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return host, int(port)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_it_is_ready_and_leaves_no_process_and_no_file(pvtzd, tmp_path):
    said = up(pvtzd, *PORTS)
    assert {"dns", "api", "http", "https", "access_key_id", "access_key_secret", "ca", "vpcs", "pid"} <= set(said)
    assert ask(place(said["dns"]), NAME).rcode == "NOERROR"
    assert Path(said["ca"]).read_text().count("-----BEGIN") == 1 and is_running(said["pid"])
    down = pvtzd("lab", "down")
    assert (down.returncode, down.stdout, down.stderr) == (0, "", "")
    assert not is_running(said["pid"])
    assert pvtzd.left() == [] and sorted(os.listdir(tmp_path)) == ["tmp"], "nothing in the home either"


def test_a_second_one_is_refused_and_told_where_the_first_is(pvtzd):
    said = up(pvtzd, *PORTS)
    again = pvtzd("lab", "up", *PORTS)
    assert again.returncode == 1 and not again.stdout
    assert f"a lab is up already (process {said['pid']})" in again.stderr
    assert json.loads((pvtzd.folder / "up.json").read_text()) == said
    assert (pvtzd.folder / "up.json").stat().st_mode & 0o777 == 0o600
    assert is_running(said["pid"]), "the first one is left alone"


@pytest.mark.parametrize("where", ["/dev/full", "closed pipe"])
def test_a_lab_that_nobody_learns_of_is_ended(pvtzd, where):
    words = [str(binary()), "lab", "up", *PORTS]
    if where == "/dev/full":
        with open(where, "w") as full:
            done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=pvtzd.variables, timeout=60)
    else:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, env=pvtzd.variables, timeout=60)
        os.close(writing)
    assert done.returncode != 0 and "the lab is ended" in done.stderr
    assert pvtzd.left() == []
    assert "no lab is up" in pvtzd("lab", "down").stderr


def test_of_many_at_once_one_comes_up(pvtzd):
    done = []
    threads = [threading.Thread(target=lambda: done.append(pvtzd("lab", "up", *PORTS))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.returncode for one in done) == [0, *[1] * 7], [one.stderr for one in done]
    (said,) = [json.loads(one.stdout) for one in done if one.stdout]
    assert pvtzd("lab", "down").returncode == 0
    assert not is_running(said["pid"]) and pvtzd.left() == []


def test_down_where_none_is_up_is_no_error(pvtzd):
    for _ in range(2):
        down = pvtzd("lab", "down")
        assert down.returncode == 0 and "no lab is up" in down.stderr
    assert pvtzd.left() == []


def test_what_is_kept_stays_and_the_record_goes(pvtzd, tmp_path):
    kept = tmp_path / "kept"
    first = up(pvtzd, "--state-dir", kept, *PORTS)
    beside = up(pvtzd, *PORTS)
    assert first["pid"] != beside["pid"], "another directory, another lab"
    assert pvtzd("lab", "down", "--state-dir", kept).returncode == 0
    assert not is_running(first["pid"]) and is_running(beside["pid"])
    names = {path.name for path in kept.iterdir()}
    assert "account.redb" in names and not {"up.json", "up.log"} & names
    again = up(pvtzd, "--state-dir", kept, *PORTS)
    assert again["access_key_id"] == first["access_key_id"] != beside["access_key_id"]
    assert pvtzd("lab", "down", "--state-dir", kept).returncode == 0


def test_a_lab_that_was_killed_makes_room(pvtzd):
    first = up(pvtzd, *PORTS)
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: not is_running(first["pid"]), "the lab has ended")
    second = up(pvtzd, *PORTS)
    os.kill(second["pid"], signal.SIGKILL)
    until(lambda: not is_running(second["pid"]), "the lab has ended")
    down = pvtzd("lab", "down")
    assert down.returncode == 0 and "had ended already" in down.stderr
    assert pvtzd.left() == []


def test_another_process_with_the_recorded_number_is_left_alone(pvtzd):
    first = up(pvtzd, *PORTS)
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: not is_running(first["pid"]), "the lab has ended")
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL)
    record = pvtzd.folder / "up.json"
    record.write_text(json.dumps(first | {"pid": bystander.pid}))
    assert pvtzd("lab", "down").returncode == 0
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_lab_that_ends_by_a_hard_kill_only_is_ended(pvtzd):
    said = up(pvtzd, *PORTS)
    os.kill(said["pid"], signal.SIGSTOP)
    assert pvtzd("lab", "down").returncode == 0
    assert not is_running(said["pid"]) and pvtzd.left() == []


def test_a_lab_whose_up_was_killed_ends_by_itself(pvtzd):
    words = [str(binary()), "lab", "up", *PORTS]
    starting = subprocess.Popen(words, stdout=subprocess.PIPE, env=pvtzd.variables)
    record = pvtzd.folder / "up.json"
    text = until(lambda: record.exists() and record.read_text().strip(), "the lab's process is known")
    starting.kill()
    starting.communicate()
    pid = json.loads(text)["pid"]
    if '"dns"' not in record.read_text():
        until(lambda: not is_running(pid), "the lab has ended")
    assert pvtzd("lab", "down").returncode == 0
    assert not is_running(pid) and pvtzd.left() == []


@pytest.mark.parametrize(("words", "code", "why"), [
    (("--config", "/nowhere.toml", "lab", "up"), 78, "/nowhere.toml"),
    (("lab", "up", "--dns", "192.0.2.1:53"), 3, "cannot listen on 192.0.2.1:53"),
    (("lab", "up", "--advertise", "192.0.2.1"), 2, "--clients"),
    (("lab", "up", "--clients", "10.0.0.0/33"), 2, "10.0.0.0/33"),
])
def test_a_lab_that_does_not_start_says_why_and_leaves_nothing(pvtzd, words, code, why):
    done = pvtzd(*words)
    assert done.returncode == code and why in done.stderr and not done.stdout, done.stderr
    assert pvtzd.left() == []


def make_fifo(path):
    os.mkfifo(path)


@pytest.mark.parametrize("make", [make_fifo, Path.mkdir, lambda path: path.write_text("mine"), lambda path: path.symlink_to("/dev/null")],
                         ids=["fifo", "directory", "file of another", "link"])
def test_something_else_where_the_record_should_be_is_told_and_left(pvtzd, tmp_path, make):
    kept = tmp_path / "kept"
    kept.mkdir()
    make(kept / "up.json")
    before = (kept / "up.json").lstat().st_ino
    for command in ("up", "down"):
        done = pvtzd("lab", command, "--state-dir", kept, *(PORTS if command == "up" else ()))
        assert done.returncode == 71 and str(kept / "up.json") in done.stderr, done.stderr
    assert (kept / "up.json").lstat().st_ino == before


def test_a_fifo_where_the_log_should_be_makes_room(pvtzd, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    os.mkfifo(kept / "up.log")
    up(pvtzd, "--state-dir", kept, *PORTS)
    assert pvtzd("lab", "down", "--state-dir", kept).returncode == 0


def test_a_directory_of_others_is_not_taken(pvtzd):
    pvtzd.folder.mkdir(mode=0o777)
    pvtzd.folder.chmod(0o777)
    for command in ("up", "down"):
        done = pvtzd("lab", command)
        assert done.returncode == 71 and "other users can access it" in done.stderr
    pvtzd.folder.rmdir()


def test_a_full_disk_is_told(pvtzd, namespace, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    namespace.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full)
    namespace.run("sh", "-c", f"dd if=/dev/zero of={full}/filler bs=4k count=100; true")
    done = pvtzd("lab", "up", *PORTS, prefix=namespace.prefix, TMPDIR=str(full))
    assert done.returncode == 71 and "No space left on device" in done.stderr, done.stderr
    assert namespace.run("ls", full).stdout.split() == ["filler"]


def test_clients_in_another_network_namespace(pvtzd, namespaces):
    here, beside, stranger = namespaces(), namespaces(), namespaces()
    here.join(beside)
    here.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", stranger.pid)
    for machine, link, address in ((here, "eth1", "10.98.0.1/24"), (stranger, "eth0", "10.98.0.2/24")):
        machine.run("ip", "address", "add", address, "dev", link)
        machine.run("ip", "link", "set", link, "up")
    said = up(pvtzd, "--clients", "10.99.0.0/24", "--advertise", "10.99.0.1", prefix=here.prefix)
    assert said["dns"] == "10.99.0.1:5335" and said["https"] == "https://10.99.0.1:5382"
    assert said["vpcs"][0]["clients"][-1] == "10.99.0.0/24"
    dig = ["dig", "@10.99.0.1", "-p", "5335", "+short", "+time=2", "+tries=1"]
    assert beside.run(*dig, "popunify-vpc.cn-hangzhou.aliyuncs.com").stdout.split() == ["10.99.0.1"]
    call = [sys.executable, "-c", CALL, Path(__file__).parent, said["access_key_id"], said["access_key_secret"]]
    made = json.loads(beside.run(*call, "10.99.0.1", "5380").stdout)
    assert made == "vpc-lab"
    assert beside.run(*dig, "www.corp.example").stdout.split() == ["192.0.2.1"]
    # over HTTPS, by a name that the certificate has
    curl = ["curl", "-sS", "-m", "5", "--cacert", said["ca"], "--connect-to", f"{NAME}:443:10.99.0.1:5382", f"https://{NAME}/"]
    assert "Code" in beside.run(*curl).stdout
    # of another network: neither by its own address, nor by the advertised one
    refused = stranger.run("dig", "@10.98.0.1", "-p", "5335", "+time=1", "+tries=1", NAME, check=False).stdout
    assert "REFUSED" in refused or "timed out" in refused or "no servers" in refused
    assert stranger.run("curl", "-sS", "-m", "2", "http://10.98.0.1:5380/", check=False).returncode in (52, 56)
    assert pvtzd("lab", "down").returncode == 0
    assert not is_running(said["pid"]) and pvtzd.left() == []


CALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from harness.api import Api
client = Api((sys.argv[4], int(sys.argv[5])), sys.argv[2], sys.argv[3])
zone = client.zone("corp.example", records=[("www", "A", "192.0.2.1")])
client.call("BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": "vpc-lab", "RegionId": "cn-hangzhou"}])
print(json.dumps(client.call("DescribeZoneInfo", ZoneId=zone)["BindVpcs"]["Vpc"][0]["VpcId"]))
"""
