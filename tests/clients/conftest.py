"""What the tests of clients share: a lab, and the table that docs/clients.md is made of."""

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/e2e")]

from harness.process import binary  # noqa: E402

MAY_BE_MISSING = {"aliyun", "ecctl", "terraform"}


def pytest_sessionstart(session):
    session.config.results = []
    if not binary().exists():
        pytest.exit(f"no program at {binary()}: name one by $PVTZD", 2)


@pytest.fixture
def lab(tmp_path):
    """A lab, as it says of itself; `lab()` starts another."""
    running = []

    def start(*words):
        ports = [word for option in ("--dns", "--api", "--http", "--https") for word in (option, "127.0.0.1:0")]
        command = [str(binary()), "lab", "--json", *ports, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path))
        running.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return json.loads(line)

    yield start
    for process in running:
        process.kill()
        process.communicate()


def environment(home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PVTZD", "ALIBABA", "ALICLOUD"))}
    return {**kept, "XDG_STATE_HOME": str(home / "state"), "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


@pytest.fixture
def instance(tmp_path):
    """Runs a command in `lab exec` and returns what it printed."""

    def run(*command, words=(), patience=100, more=None, check=True):
        line = [str(binary()), "lab", "exec", *words, "--", *map(str, command)]
        variables = {**environment(tmp_path), **(more or {})}
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=patience, env=variables)
        if "this machine does not allow namespaces" in done.stderr:
            missing("namespaces")
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def missing(name):
    """Skips by name; in CI only the programs that no registry has may be missing."""
    if os.environ.get("CI") == "true" and name not in MAY_BE_MISSING:
        pytest.fail(f"missing in CI: {name}")
    pytest.skip(f"missing: {name}")


@pytest.fixture
def row(request):
    """`row(client, version, what was done)`: a row of docs/clients.md, with what came of it."""
    told = []

    def tell(client, version, done, done_zh):
        told.append({"client": client, "version": version, "done": done, "done_zh": done_zh})

    yield tell
    result = "works" if getattr(request.node, "passed", False) else "fails"
    request.config.results.extend({**each, "result": result} for each in told)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.passed = report.passed


def pytest_sessionfinish(session, exitstatus):
    """With WRITE_CLIENTS=1 a run in which nothing failed writes the documents."""
    if os.environ.get("WRITE_CLIENTS") == "1" and exitstatus == 0:
        import document

        document.write(session.config.results, datetime.date.today().isoformat())
