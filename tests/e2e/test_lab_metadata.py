"""The metadata service of the lab's instance: what real clients read there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness.lab import SOMEBODY, environment, execute, instances
from harness.process import ROOT, binary

SERVICE = "http://100.100.100.200"


def got(state, *paths, options=()):
    """Status and body of each path."""
    script = """
import json, sys, urllib.error, urllib.request
answers = []
for path in sys.argv[1:]:
    try:
        with urllib.request.urlopen("http://100.100.100.200" + path, timeout=5) as answer:
            answers.append((answer.status, answer.read().decode()))
    except urllib.error.HTTPError as error:
        answers.append((error.code, error.read().decode()))
print(json.dumps(answers))
"""
    done = execute(state, sys.executable, "-c", script, *paths, options=options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@instances
def test_the_items_of_an_instance_in_a_vpc(tmp_path):
    base = "/2016-01-01/meta-data"
    paths = ["/", "/latest/", f"{base}/network/interfaces/macs/", f"{base}/zone-id", "/latest/dynamic/instance-identity/document"]
    answers = got(tmp_path, *paths, options=["--region", "ap-southeast-1", "--vpc", "vpc-x"])
    assert [status for status, _ in answers] == [200] * len(paths)
    versions, folders, macs, zone, document = [body for _, body in answers]
    assert versions.split() == ["2016-01-01/", "latest/"] and folders.split() == ["dynamic/", "meta-data/"]
    assert zone == "ap-southeast-1a" and json.loads(document)["zone-id"] == zone
    mac = f"{base}/network/interfaces/macs/{macs}"
    assert got(tmp_path, f"{mac}vpc-id", f"{mac}primary-ip-address", options=["--vpc", "vpc-x"]) == [[200, "vpc-x"], [200, "172.16.0.10"]]


@instances
def test_what_an_instance_does_not_have_is_not_found(tmp_path):
    roles = "/latest/meta-data/ram/security-credentials/"
    paths = [roles, "/latest/user-data", "/latest/meta-data/eipv4", "/latest/meta-data/public-ipv4", "/1.0/meta-data/"]
    assert [status for status, _ in got(tmp_path, *paths, options=["--role", "none"])] == [404] * len(paths)
    assert got(tmp_path, roles, options=["--role", "my.role_1"]) == [[200, "my.role_1"]]
    assert got(tmp_path, roles) == [[200, "pvtzd-lab"]]


@instances
@pytest.mark.parametrize("prefix", [[], SOMEBODY])
def test_user_data_is_a_file(tmp_path, prefix):
    (tmp_path / "data").write_bytes(b"#!/bin/sh\n\xff\x00")
    words = ["curl", "-s", f"{SERVICE}/2016-01-01/user-data"]
    done = subprocess.run(
        [*prefix, binary(), "lab", "exec", "--user-data", tmp_path / "data", "--", *words],
        capture_output=True, env=environment(tmp_path), timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == b"#!/bin/sh\n\xff\x00", done.stderr


@pytest.mark.parametrize(
    "options, told",
    [
        (["--user-data", "/nowhere/at/all"], "--user-data /nowhere/at/all: "),
        (["--user-data", "/dev/zero"], "--user-data /dev/zero: "),
        (["--user-data", "/etc"], "--user-data /etc: "),
        (["--user-data", "LARGE"], "at most 32 KiB"),
        (["--role", "a b"], "--role"),
        (["--role", ""], "--role"),
        (["--role", "r" * 65], "--role"),
        (["--credential-ttl", "4s"], "--credential-ttl"),
        (["--credential-ttl", "13h"], "--credential-ttl"),
        (["--credential-ttl", "15"], "--credential-ttl"),
    ],
)
def test_bad_options_are_told(tmp_path, options, told):
    (tmp_path / "large").write_bytes(b"x" * ((32 << 10) + 1))
    os.mkfifo(tmp_path / "pipe")
    options = [str(tmp_path / "large") if word == "LARGE" else word for word in options]
    done = execute(tmp_path, "true", options=options)
    assert done.returncode == 2 and told in done.stderr, done.stderr
    done = execute(tmp_path, "true", options=["--user-data", tmp_path / "pipe"])
    assert done.returncode == 2 and "pipe" in done.stderr, "it is not waited for"


CLOUD_INIT = """
import json, sys
from unittest import mock
from cloudinit import helpers
from cloudinit.sources import DataSourceAliYun as module
paths = helpers.Paths({"cloud_dir": sys.argv[1], "run_dir": sys.argv[1]})
distro = mock.Mock(fallback_interface=None)
with mock.patch.object(module.dmi, "read_dmi_data", return_value=module.ALIYUN_PRODUCT):
    source = module.DataSourceAliYun({}, distro, paths)
    assert source._get_data()
print(json.dumps({
    "id": source.get_instance_id(),
    "hostname": source.get_hostname().hostname,
    "keys": source.get_public_ssh_keys(),
    "data": source.userdata_raw.decode(),
    "metadata": source.metadata,
}))
"""


@instances
def test_cloud_init_finds_its_source(tmp_path):
    folder = Path(os.environ.get("CLOUD_INIT", ROOT / "tests/.env/cloud-init")) / "usr/lib/python3/dist-packages"
    if not (folder / "cloudinit").exists():
        pytest.skip(f"no cloud-init in {folder}")
    # Debian's other packages for Python are not looked at: the tests have their own.
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/cloudinit").symlink_to(folder / "cloudinit")
    (tmp_path / "data").write_text("#cloud-config\nruncmd: [true]\n")
    path = f"{tmp_path / 'modules'}:{os.environ.get('PYTHONPATH', '')}"
    words = ["env", f"PYTHONPATH={path}", sys.executable, "-c", CLOUD_INIT, tmp_path]
    done = execute(tmp_path, *words, options=["--user-data", tmp_path / "data", "--vpc", "vpc-x"])
    if "ModuleNotFoundError" in done.stderr and "cloudinit" not in done.stderr.splitlines()[-1]:
        pytest.skip(f"cloud-init needs more: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["id"] == "i-pvtzdlab000000000000" and found["hostname"] == "pvtzd-lab"
    assert found["data"] == "#cloud-config\nruncmd: [true]\n"
    assert len(found["keys"]) == 1 and found["keys"][0].startswith("ssh-ed25519 ")
    assert found["metadata"]["vpc-id"] == "vpc-x"
    assert len(found["metadata"]["ntp-conf"]["ntp-servers"]) > 1
    assert "security-credentials" not in json.dumps(found["metadata"])
