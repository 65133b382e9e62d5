"""Where the configuration comes from: the built-in one is for a machine without the file, not for one whose file is
out of reach."""

import os
import signal
import subprocess

import pytest
from harness.process import ROOT, Process, binary, free_port

CONFIGURATION = """
[upstream]
servers = []
[[zone]]
name = "p.example"
[[zone.record]]
name = "www"
type = "A"
value = "10.0.0.1"
"""

AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")

# What is done to /etc, which is empty but for /etc/pvtzd/pvtzd.toml, and words of the message.
OUT_OF_REACH = {
    "a folder for root alone": ("chmod 700 /etc/pvtzd", ["Permission denied", "cannot enter /etc/pvtzd (mode 0700"]),
    "a file for root alone": ("chmod 600 /etc/pvtzd/pvtzd.toml", ["Permission denied", "cannot read it (mode 0600"]),
    "a link to nowhere": ("ln -sf nowhere /etc/pvtzd/pvtzd.toml", ["is a link to /etc/pvtzd/nowhere, which does not exist"]),
    "a link into a hidden home": (
        "mount -t tmpfs -o mode=700 tmpfs /home; ln -sf /home/me/pvtzd.toml /etc/pvtzd/pvtzd.toml",
        ["is a link to /home/me/pvtzd.toml", "ProtectHome="],
    ),
    "a link to itself": ("ln -sf pvtzd.toml /etc/pvtzd/pvtzd.toml", ["is a link to /etc/pvtzd/pvtzd.toml"]),
    "a folder that is a link to nowhere": ("mv /etc/pvtzd /etc/was; ln -s nowhere /etc/pvtzd", ["link to /etc/nowhere"]),
    "a folder that is a file": ("rm -r /etc/pvtzd; touch /etc/pvtzd", ["Not a directory"]),
    "a pipe": ("rm /etc/pvtzd/pvtzd.toml; mkfifo -m 644 /etc/pvtzd/pvtzd.toml", ["it is a pipe, not a regular file"]),
    "a directory": ("rm /etc/pvtzd/pvtzd.toml; mkdir /etc/pvtzd/pvtzd.toml", ["it is a directory, not a regular file"]),
    "an endless device": ("ln -sf /dev/zero /etc/pvtzd/pvtzd.toml", ["it is a device, not a regular file"]),
    "ten gigabytes": ("truncate -s 10G /etc/pvtzd/pvtzd.toml", ["it is larger than"]),
}  # fmt: skip


@pytest.fixture
def machine(namespace):
    """A machine whose /etc has the configuration and nothing else; the program is /run/pvtzd-program."""
    namespace.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/etc")
    (namespace.folder / "toml").write_text(CONFIGURATION)
    namespace.run("mkdir", "/etc/pvtzd")
    namespace.run("cp", namespace.folder / "toml", "/etc/pvtzd/pvtzd.toml")
    namespace.run("chmod", "644", "/etc/pvtzd/pvtzd.toml")
    namespace.run("install", "-m", "755", binary(), "/run/pvtzd-program")
    return namespace


def pvtzd(machine, *words):
    return machine.run(*AS_NOBODY, "/run/pvtzd-program", *words, check=False)


@pytest.mark.parametrize("case", OUT_OF_REACH)
def test_out_of_reach_is_an_error_that_names_path_and_reason(machine, case):
    script, words = OUT_OF_REACH[case]
    assert pvtzd(machine, "check").returncode == 0
    machine.run("sh", "-e", "-c", script)
    for command in (["check"], ["explain", "www.p.example"], ["run", "--listen", "127.0.0.1:5399"], ["doctor"]):
        done = pvtzd(machine, *command)
        assert done.returncode == (1 if command == ["doctor"] else 78), (command, done.stdout, done.stderr)
        assert "cannot read /etc/pvtzd/pvtzd.toml: " in done.stderr, done.stderr
        assert all(word in done.stderr for word in words), done.stderr
        assert "ready" not in done.stderr


def test_without_an_entry_the_built_in_configuration_counts(machine):
    machine.run("rm", "/etc/pvtzd/pvtzd.toml")
    assert "built-in configuration" in pvtzd(machine, "check").stdout
    machine.run("rm", "-r", "/etc/pvtzd")
    assert "built-in configuration" in pvtzd(machine, "check").stdout


def test_a_file_that_appears_counts_from_a_reload_and_one_that_goes_changes_nothing(machine):
    machine.run("mv", "/etc/pvtzd/pvtzd.toml", "/etc/kept")
    port = free_port()
    words = ("/run/pvtzd-program", "run", "--listen", f"127.0.0.1:{port}", "--metadata", "off")
    server = machine.process(*words)

    def answer():
        return machine.run("/run/pvtzd-program", "query", "www.p.example", "--server", f"127.0.0.1:{port}", check=False)

    try:
        server.logged("ready")
        assert "10.0.0.1" not in answer().stdout
        machine.run("mv", "/etc/kept", "/etc/pvtzd/pvtzd.toml")
        server.send(signal.SIGHUP)
        server.logged("reloaded")
        assert "10.0.0.1" in answer().stdout
        for script in ("rm /etc/pvtzd/pvtzd.toml", "ln -s nowhere /etc/pvtzd/pvtzd.toml", "rm -r /etc/pvtzd"):
            machine.run("sh", "-c", script)
            before = len(server.lines)
            server.send(signal.SIGHUP)
            server.logged("the former one stays in force", after=before)
            assert "10.0.0.1" in answer().stdout
    finally:
        server.kill()


def test_check_says_what_the_service_may_not_read(machine):
    """As root, who may read everything, beside the unit that is shipped."""
    units = "/etc/systemd/system"
    machine.run("mkdir", "-p", units)
    machine.run("cp", ROOT / "systemd/pvtzd.service", units)

    def warnings(script="true"):
        machine.run("sh", "-e", "-c", script)
        done = machine.run("/run/pvtzd-program", "check", check=False)
        assert done.returncode == 0
        return done.stderr

    assert warnings() == ""
    assert "may not read /etc/pvtzd/pvtzd.toml (mode 0600)" in warnings("chmod 600 /etc/pvtzd/pvtzd.toml")
    assert "may not enter /etc/pvtzd (mode 0700)" in warnings("chmod 700 /etc/pvtzd")
    home = "mount -t tmpfs tmpfs /home; mv /etc/pvtzd/pvtzd.toml /home; ln -s /home/pvtzd.toml /etc/pvtzd/pvtzd.toml"
    assert "ProtectHome=" in warnings(home)
    machine.run("sh", "-e", "-c", "rm -r /etc/pvtzd; mkdir /etc/pvtzd; printf '[cache]\nsize = \"1GiB\"\n' >/etc/pvtzd/pvtzd.toml")
    assert "does not fit into MemoryHigh=" in warnings()


@pytest.mark.parametrize("form", ["crlf", "bom", "both"])
def test_a_file_from_another_editor_is_read(tmp_path, form):
    text = CONFIGURATION.replace("\n", "\r\n") if form != "bom" else CONFIGURATION
    file = tmp_path / "pvtzd.toml"
    file.write_bytes((b"\xef\xbb\xbf" if form != "crlf" else b"") + text.encode())
    done = subprocess.run([binary(), "check", "--config", file], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 warnings" not in done.stdout


def test_a_path_that_is_empty_is_told_as_that():
    environment = {**os.environ, "PVTZD_CONFIG": ""}
    done = subprocess.run(
        [binary(), "check", "--config", ""], capture_output=True, text=True, timeout=20, check=False, env=environment
    )
    assert done.returncode in (2, 78), done
    assert "empty" in done.stderr or "value is required" in done.stderr, done.stderr


# Each file that the configuration names, with what else it takes.
NAMED = {
    "tls_ca": '[upstream]\nservers = ["tls://192.0.2.1#dns.example"]\ntls_ca = "{}"\n',
    "certificate": '[server]\nlisten = ["127.0.0.1:0"]\nlisten_tls = ["127.0.0.1:0"]\ncertificate = "{}"\nkey = "/none"\n',
    "key": '[server]\nlisten = ["127.0.0.1:0"]\nlisten_tls = ["127.0.0.1:0"]\ncertificate = "/dev/null"\nkey = "{}"\n',
    "secret_file": '[control]\nlisten = "127.0.0.1:0"\n[[control.access_key]]\nid = "one"\nsecret_file = "{}"\n',
    "zone file": '[[zone]]\nname = "p.example"\nfile = "{}"\n',
}


@pytest.mark.parametrize("what", ["pipe", "device", "ten gigabytes"])
@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_the_configuration_names_is_regular_and_bounded(certificate, tmp_path, name, what):
    file = tmp_path / "named"
    if what == "pipe":
        os.mkfifo(file)
    elif what == "device":
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, 10 << 30)
    words = {"pipe": "it is a pipe, not a regular file", "device": "it is a device, not a regular file"}
    path = tmp_path / "pvtzd.toml"
    path.write_text(NAMED[name].format(file).replace("/dev/null", str(certificate("dns.example")[0])))
    server = Process([binary(), "run", "--config", path, "--listen", "127.0.0.1:0", "--metadata", "off"])
    try:
        server.logged(words.get(what, "it is larger than"))
        assert str(file) in server.log, server.log
        if name == "tls_ca":  # without it, plain servers and private zones are answered all the same
            server.logged("ready")
        else:
            assert server.wait() != 0, "it does not start"
    finally:
        server.kill()


def test_a_document_that_is_imported_is_regular_or_standard_input(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = subprocess.run([binary(), "diff", pipe, pipe], capture_output=True, text=True, timeout=20, check=False)
    assert "it is a pipe, not a regular file" in done.stderr and "write `-` instead of the file" in done.stderr
