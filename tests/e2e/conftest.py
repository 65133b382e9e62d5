"""Fixtures: what a test asks for by name, and what is cleared away after it."""

import faulthandler
import os
import signal
import subprocess
import textwrap

import pytest
from harness import native, process, servers, world
from harness.badnet import BadNet
from harness.fake import Fake, address
from harness.group import Group
from harness.instance import Instance
from harness.namespace import Namespace
from harness.process import Pvtzd, binary

LONGEST = 120  # seconds for one test


def pytest_sessionstart(session):
    if not binary().exists():
        pytest.exit(f"no program at {binary()}: `cargo build --release`, or name one by $PVTZD", 2)


@pytest.fixture(autouse=True)
def in_time():
    """No test hangs."""

    def late(_number, _frame):
        faulthandler.dump_traceback()
        raise TimeoutError(f"the test took longer than {LONGEST} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)


@pytest.fixture
def note(request):
    """Tells a figure that is not asserted: `pytest -rP` shows them."""
    return lambda name, value: print(f"{request.node.name}: {name} = {value}")


@pytest.fixture
def other_build(monkeypatch):
    """The program under test is the one of the other build: with HTTP/3, and linked to libraries of the system."""
    program = process.http3_build()
    if not program:
        pytest.skip("no program with HTTP/3: PVTZD_HTTP3")
    monkeypatch.setenv("PVTZD", program)


@pytest.fixture
def start(tmp_path):
    """Starts pvtzd: `start(toml, upstream=[servers], …)`; every one is stopped after the test.

    `upstream` is put into the configuration, as a list of servers or of `address:port`. Without it nothing is
    forwarded. `[server]`, `[cache]` and so on are written by the test.
    """
    running = []

    def begin(text="", *, upstream=(), strategy=None, wait=True, **options):
        file = tmp_path / f"pvtzd-{len(running)}.toml"
        file.write_text(configuration(text, upstream, strategy))
        for _ in range(5):
            try:
                server = Pvtzd(file, **options)
                break
            except AssertionError as error:
                # another process was given the UDP port of the TCP port that we were given
                if "ended with 3" not in str(error) or "listen" in options:
                    raise
        else:
            raise AssertionError("no port for pvtzd")
        running.append(server)
        return server

    yield begin
    for server in running:
        died = not server.is_alive and server.process.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL)
        server.kill()
        assert "a defect of pvtzd" not in server.log, server.log
        assert not died, f"pvtzd ended with {server.process.returncode}:\n{server.log}"


def configuration(text, upstream=(), strategy=None):
    """A configuration that forwards to `upstream`."""
    listed = ", ".join(f'"{getattr(server, "address", server)}"' for server in upstream)
    order = f'strategy = "{strategy}"\n' if strategy else ""
    behind = os.environ.get("FLEET_ENDPOINTS")
    if behind and "[control]" in text and "[fleet]" not in text:
        # The same tests with etcd behind the API.
        text += f'\n[fleet]\nendpoints = ["{behind}"]\nprefix = "/pvtzd/{os.urandom(8).hex()}"\n'
    return f"{textwrap.dedent(text)}\n[upstream]\nservers = [{listed}]\n{order}"


@pytest.fixture
def fake():
    """Makes scripted upstreams: `fake(script)`."""
    made = []

    def make(script=address(), **options):
        made.append(Fake(script, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def badnet():
    """Puts a bad network before a server: `badnet(upstream, loss=0.3)`."""
    made = []

    def make(server, **options):
        made.append(BadNet((server.host, server.port), **options))
        return made[-1]

    yield make
    for net in made:
        net.close()


@pytest.fixture
def group():
    """Makes control groups: `group(limit)`. To be named before `start`, so that it is emptied first."""
    made = []

    def make(limit):
        made.append(Group(limit))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """Builds a program of the harness: `program("forge")`."""
    folder, made = tmp_path_factory.mktemp("programs"), {}

    def make(name, *flags):
        if name not in made:
            made[name] = native.compiled(name, folder, *flags)
        return made[name]

    return make


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """nsd with the zones of `harness/world.py`."""
    server = servers.nsd(tmp_path_factory.mktemp("nsd"), world.ZONES)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def recursive(authority, tmp_path_factory):
    """unbound that resolves from the authority."""
    server = servers.unbound(tmp_path_factory.mktemp("unbound"), authority)
    yield server
    server.kill()


@pytest.fixture
def namespaces(tmp_path):
    """Makes machines of their own: needs root and a kernel that lets us have namespaces."""
    able = os.geteuid() == 0 and subprocess.run(["unshare", "-n", "-m", "true"], check=False).returncode == 0
    if not able:
        pytest.skip("no namespaces: needs root")
    made = []

    def make():
        folder = tmp_path / f"namespace-{len(made)}"
        folder.mkdir()
        made.append(Namespace(folder))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


@pytest.fixture
def namespace(namespaces):
    """One machine of its own."""
    return namespaces()


@pytest.fixture
def instance(namespace, tmp_path):
    """An ECS instance; what is around it and on it is for the test to say."""
    machine = Instance(namespace, tmp_path)
    yield machine
    machine.close()


@pytest.fixture
def certificate(tmp_path):
    """Makes a certificate that is its own authority: `certificate(name)`; the same files each time."""

    def make(name="dns.example"):
        words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        more = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-subj", f"/CN={name}"]
        extensions = ["-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run([*words.split(), *more, *extensions], check=True, capture_output=True)
        return tmp_path / "cert.pem", tmp_path / "key.pem"

    return make
