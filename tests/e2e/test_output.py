"""Standard output and standard error that cannot be written: no panic, and the exit code of the work."""

import contextlib
import os
import signal
import subprocess

import dns.exception
import pytest
from harness.ask import ask
from harness.process import binary, free_port
from harness.wait import until

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

# Words, and whether they take a configuration.
COMMANDS = {
    "check": True,
    "check --json": True,
    "explain www.p.example": True,
    "doctor": True,
    "resolver status": True,
    "resolver take --dry-run": True,
    "query www.example --server 127.0.0.1:1": True,
    "status --socket /nowhere/at/all": True,
    "lab --walkthrough": False,
    "--help": False,
    "run --help": False,
    "--version": False,
    "nonsense": False,
}

REDIRECTIONS = [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"]


@pytest.fixture
def environment(tmp_path):
    """Without the caller's configuration; what the lab keeps goes into the test's folder."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("PVTZD")}
    return {**others, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def broken():
    """A pipe whose reader has ended."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.fixture
def configuration(tmp_path):
    path = tmp_path / "pvtzd.toml"
    path.write_text(CONFIGURATION)
    return path


@pytest.mark.parametrize("words", COMMANDS)
def test_the_code_is_that_of_the_work(words, configuration, environment, broken):
    command = [str(binary()), *words.split(), *(["--config", str(configuration)] if COMMANDS[words] else [])]

    def code(run, **streams):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        done = subprocess.run(run, env=environment, timeout=60, text=True, check=False, **streams)
        assert "panicked" not in (done.stderr or ""), done.stderr
        return done.returncode

    wanted = code(command)
    for redirections in REDIRECTIONS:
        assert code(["bash", "-c", f'exec "$@" {redirections}', "bash", *command]) == wanted, redirections
    assert code(command, stdout=broken) == wanted, "the reader of standard output has ended"
    assert code(command, stderr=broken) == wanted, "the reader of standard error has ended"
    assert code(command, stdout=broken, stderr=broken) == wanted, "both"


def test_a_full_disk_is_reported_once(configuration, environment):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [binary(), "explain", "www.p.example", "--config", configuration],
            stdout=full, stderr=subprocess.PIPE, env=environment, text=True, timeout=20, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == "error: cannot write to standard output: No space left on device (os error 28)\n"


def test_a_reader_that_ends_first_is_no_error(configuration, environment, broken):
    done = subprocess.run(
        [binary(), "explain", "www.p.example", "--config", configuration],
        stdout=broken, stderr=subprocess.PIPE, env=environment, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_status_that_is_watched_ends_with_its_reader(start, tmp_path, environment, broken):
    socket = tmp_path / "control.sock"
    start(f'[ops]\nsocket = "{socket}"')
    watch = [binary(), "status", "--watch", "--every", "0.1", "--socket", socket]
    done = subprocess.run(watch, stdout=broken, stderr=subprocess.PIPE, env=environment, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2>&8", "<&- >&- 2>&-"])
def test_a_server_serves_without_a_place_for_its_log(where, configuration, environment, broken):
    """With the log at its most talkative; what is printed at start and at a reload has no place either."""
    port = free_port()
    with configuration.open("a") as file:  # a warning, which is printed at start and at each reload
        file.write('[[forward]]\nzone = "x.p.example"\nservers = ["127.0.0.1:1"]\n')
    words = ["run", "--config", configuration, "--listen", f"127.0.0.1:{port}", "--metadata", "off", "--log", "trace"]
    script = f'exec 8>&{broken}; exec "$@" {where}'
    server = subprocess.Popen(
        ["bash", "-c", script, "bash", binary(), *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, pass_fds=[broken],
    )  # fmt: skip

    def values():
        try:
            return ask(("127.0.0.1", port), "www.p.example", patience=1).values
        except (OSError, dns.exception.Timeout):
            return None

    try:
        until(lambda: values() == ["10.0.0.1"], "it serves")
        for name in ("a.example", "www.p.example"):
            server.send_signal(signal.SIGHUP)
            assert ask(("127.0.0.1", port), name).rcode in ("SERVFAIL", "NOERROR")
        assert values() == ["10.0.0.1"]
    finally:
        server.terminate()
        assert server.wait(10) == 0


@pytest.mark.parametrize("later", [False, True], ids=["never read", "read later"])
def test_a_reader_that_stands_still_holds_up_nothing(configuration, environment, later):
    """A full pipe as standard error: DNS is served, a reload is done, SIGTERM ends it."""
    port = free_port()
    with configuration.open("a") as file:  # a warning, which is printed at start and at each reload
        file.write('[[forward]]\nzone = "x.p.example"\nservers = ["127.0.0.1:1"]\n')
    read, write = os.pipe()
    os.set_blocking(write, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(write, bytes(4096))
    os.set_blocking(write, True)
    words = ["run", "--config", configuration, "--listen", f"127.0.0.1:{port}", "--metadata", "off", "--log", "trace"]
    server = subprocess.Popen(
        [binary(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write, env=environment
    )
    os.close(write)

    def values():
        try:
            return ask(("127.0.0.1", port), "www.p.example", patience=1).values
        except (OSError, dns.exception.Timeout):
            return None

    with os.fdopen(read, "rb") as log:
        try:
            until(lambda: values() == ["10.0.0.1"], "it serves")
            configuration.write_text(configuration.read_text().replace("10.0.0.1", "10.0.0.2"))
            server.send_signal(signal.SIGHUP)
            until(lambda: values() == ["10.0.0.2"], "the reload is done")
            if later:
                assert log.read(filled) == bytes(filled)
        finally:
            server.terminate()
            assert later or server.wait(10) == 0
        if later:
            said = log.read().decode()
            assert server.wait(10) == 0
            assert "ready" in said and "x.p.example" in said, said
