"""The files of `lab exec`: an /etc of its own, whatever the host does to its own meanwhile."""

import os
import subprocess

import pytest
from harness.process import binary
from harness.wait import until

NAME = "ecs.cn-hangzhou.aliyuncs.com"
INSIDE = "100.100.0.80"

# Somebody without any rights, though the files of root are readable.
SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

# What a host does to its files: a new file in the place of the old one, the old one written anew, a link, removal.
REPLACED = {
    "renamed": """
        for file in resolv.conf nsswitch.conf hosts passwd; do cp /etc/$file /etc/new; echo '# new' >>/etc/new; mv /etc/new /etc/$file; done
        echo 'nameserver 192.0.2.53' >/etc/new; mv /etc/new /etc/resolv.conf
        echo 'hosts: files resolve' >/etc/new; mv /etc/new /etc/nsswitch.conf
        echo none >/etc/new; mv /etc/new BUNDLE""",
    "written in place": """
        echo 'nameserver 192.0.2.53' >/etc/resolv.conf
        echo 'hosts: files resolve' >/etc/nsswitch.conf
        echo none >BUNDLE""",
    "a link in its place": """
        mkdir -p /run/other; echo 'nameserver 192.0.2.53' >/run/other/resolv.conf
        ln -sfn /run/other/resolv.conf /etc/new; mv -T /etc/new /etc/resolv.conf""",
    "removed": "rm -r /etc/resolv.conf /etc/nsswitch.conf /etc/ssl",
    "moved": "mv /etc/ssl /etc/ssl.old; mkdir /etc/ssl; mv /etc/resolv.conf /etc/old; mv /etc/nsswitch.conf /etc/older",
}

JOB = f"""
check() {{ getent ahostsv4 {NAME} | grep -q {INSIDE} && curl -sS -m 5 https://{NAME}/ | grep -q Missing; }}
check || exit 3
touch "$1/begun"
while ! [ -e "$1/replaced" ]; do sleep 0.05; done
check || exit 4
grep -q '^nameserver 127.0.0.1' /etc/resolv.conf
"""


@pytest.fixture
def host(namespace, tmp_path):
    """A machine with an /etc that a test may change."""
    namespace.run("sh", "-e", "-c", "mkdir /run/copy; cp -a /etc/. /run/copy/; mount --bind /run/copy /etc")
    namespace.run("sh", "-c", "rm -f /etc/resolv.conf; echo 'nameserver 127.0.0.1' >/etc/resolv.conf")
    return namespace


def start(host, tmp_path, prefix, *command):
    variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    words = [*host.prefix, *prefix, binary(), "lab", "exec", "--", *command]
    return subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)


@pytest.mark.parametrize("prefix", [[], SOMEBODY], ids=["root", "somebody"])
@pytest.mark.parametrize("case", REPLACED)
def test_the_job_keeps_its_resolver_and_its_trust(host, tmp_path, case, prefix):
    os.chmod(tmp_path, 0o777)
    job = start(host, tmp_path, prefix, "sh", "-c", JOB, "sh", tmp_path)
    until(lambda: (tmp_path / "begun").exists() or job.poll() is not None, "the job has begun", 30)
    host.run("sh", "-e", "-c", REPLACED[case].replace("BUNDLE", BUNDLE))
    (tmp_path / "replaced").touch()
    _, said = job.communicate(timeout=60)
    assert job.returncode == 0, said


@pytest.mark.parametrize("prefix", [[], SOMEBODY], ids=["root", "somebody"])
@pytest.mark.parametrize("target", ["/run/nowhere/resolv.conf", "/run/resolv.conf", "../run/stub/resolv.conf", "resolv.conf"])
def test_a_link_to_nowhere_is_no_obstacle_and_nothing_is_written_behind_it(host, tmp_path, target, prefix):
    host.run("ln", "-sfn", target, "/etc/resolv.conf")
    before = host.run("find", "/run", "/etc").stdout
    job = start(host, tmp_path, prefix, "sh", "-c", f"getent ahostsv4 {NAME}; cat /etc/resolv.conf")
    out, said = job.communicate(timeout=60)
    assert job.returncode == 0 and INSIDE in out and "nameserver 127.0.0.1" in out, said
    assert host.run("readlink", "/etc/resolv.conf").stdout.strip() == target
    assert host.run("find", "/run", "/etc").stdout == before, "nothing was written"


def test_the_rest_of_etc_is_the_hosts(host, tmp_path):
    host.run("sh", "-e", "-c", "mkdir '/etc/a b'; echo one >'/etc/a b/c'; echo two >'/etc/d#\\e'; mount --bind /etc/passwd /etc/hosts")
    script = "cat '/etc/a b/c' '/etc/d#\\e'; cmp /etc/hosts /etc/passwd && ls -A /etc && readlink /etc/mtab"
    job = start(host, tmp_path, [], "sh", "-c", script)
    out, said = job.communicate(timeout=60)
    assert job.returncode == 0, said
    lines = out.splitlines()
    assert lines[:2] == ["one", "two"]
    here = host.run("ls", "-A", "/etc").stdout.splitlines()
    assert lines[2 : 2 + len(here)] == here
    assert host.run("readlink", "/etc/mtab").stdout == lines[-1] + "\n"


def test_a_cache_of_the_host_does_not_answer_for_the_job(host, tmp_path):
    """The C library asks nscd by a socket, whatever the network: the job has none."""
    host.run("mkdir", "-p", "/run/nscd")
    listener = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('/run/nscd/socket'); s.listen(); s.accept(); print('asked')"
    nscd = subprocess.Popen(
        [*host.prefix, "python3", "-u", "-c", listener], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        until(lambda: host.run("test", "-S", "/run/nscd/socket", check=False).returncode == 0, "nscd listens")
        job = start(host, tmp_path, [], "sh", "-c", f"ls -A /run/nscd /var/run/nscd/; getent ahostsv4 {NAME}")
        out, said = job.communicate(timeout=60)
        assert job.returncode == 0 and INSIDE in out, said
        assert "socket" not in out.split(), out
        assert nscd.poll() is None, "it was asked"
        host.run("getent", "hosts", "www.example", check=False)
        assert nscd.wait(10) == 0, "the host's own programs ask it"
    finally:
        nscd.kill()
        nscd.wait()
