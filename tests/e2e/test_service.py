"""The units, under a running systemd: what they allow, what they tell, and that a restart loses nothing."""

import os
import socket
import subprocess
import threading

import dns.message
import pytest
from harness import machine as machines
from harness.ask import ask
from harness.fake import silent
from harness.load import Load
from harness.process import binary, free_port
from harness.wait import until

CONFIGURATION = """
[server]
listen = ["127.0.0.1:53"]
[upstream]
servers = []
[endpoints]
regions = ["cn-hangzhou"]
[[zone]]
name = "one.example"
[[zone.record]]
name = "www"
type = "A"
value = "192.0.2.1"
"""

# The metadata service is not asked for; a start by a test is no sign of trouble.
DROP_IN = """
[Unit]
StartLimitIntervalSec=0
[Service]
Environment=ALIBABA_CLOUD_ECS_METADATA_DISABLED=true
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine with systemd, and pvtzd's files where a package puts them."""
    lacking = machines.lacking()
    if lacking:
        pytest.skip(lacking)
    made = machines.Machine(tmp_path_factory.mktemp("machine"))
    made.lay(CONFIGURATION, service=DROP_IN)
    yield made
    made.close()


@pytest.fixture
def service(machine):
    """pvtzd runs with its socket unit; it is stopped after the test."""
    machine.run("systemctl", "start", "pvtzd.service")
    yield machine
    machine.run("systemctl", "stop", "pvtzd.socket", "pvtzd.service", check=False)
    machine.run("systemctl", "reset-failed", check=False)


def dig(machine, *words):
    """The answer's values."""
    return machine.run("dig", "@127.0.0.1", "+short", "+tries=1", "+timeout=3", *words).stdout.split()


def status(machine):
    """The kernel's word on the process: `/proc/PID/status`."""
    text = machine.run("cat", f"/proc/{machine.main_pid()}/status").stdout
    return dict(line.split(":", 1) for line in text.splitlines())


def test_it_answers_under_all_its_restrictions(service):
    assert dig(service, "www.one.example") == ["192.0.2.1"]
    assert dig(service, "www.one.example", "+tcp") == ["192.0.2.1"]
    assert dig(service, "ecs.cn-hangzhou.aliyuncs.com") == []  # SERVFAIL: there is no upstream
    assert service.shown("ActiveState") == "active"
    assert "on 127.0.0.1:53: " in service.shown("StatusText")
    journal = service.journal(f"_SYSTEMD_INVOCATION_ID={service.shown('InvocationID')}")
    assert "service manager" in journal and "EPERM" not in journal and "not permitted" not in journal, journal
    assert "WARN" not in journal and "ERROR" not in journal, journal


def test_it_has_given_its_rights_away(service):
    kernel = {key: value.strip() for key, value in status(service).items()}
    bind = 1 << 10  # CAP_NET_BIND_SERVICE
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(kernel[kind], 16) == bind, kind
    assert kernel["NoNewPrivs"] == "1"
    assert kernel["Seccomp"] == "2", "a filter is in force"
    assert int(kernel["Uid"].split()[0]) >= 61184, "a dynamic user"
    pid = service.main_pid()
    mounts = service.run("cat", f"/proc/{pid}/mountinfo").stdout
    assert any(line.split()[4] == "/" and line.split()[5].startswith("ro") for line in mounts.splitlines())
    assert any("/var/lib/private/pvtzd" in line.split()[4] and "rw" in line.split()[5] for line in mounts.splitlines())


def test_memory_and_threads_are_bounded_and_no_other_program_is_ended_for_it(service):
    mib = 1 << 20
    assert int(service.shown("MemoryHigh")) == 128 * mib and int(service.shown("MemoryMax")) == 192 * mib
    assert int(service.shown("TasksMax")) == 1024
    assert service.run("cat", f"/proc/{service.main_pid()}/oom_score_adj").stdout.strip() == "0"
    assert service.run("pvtzd", "check").stderr == "", "the shipped unit fits the configuration"


def test_state_is_kept_where_it_alone_may_write(service):
    service.run("systemctl", "restart", "pvtzd.service")
    assert service.run("ls", "/var/lib/private/pvtzd").stdout.split(), "the cache was saved"
    assert oct((service.root / "var/lib/private/pvtzd").stat().st_mode)[-3:] == "700"


def test_it_watches_resolv_conf_through_its_restrictions(service):
    """Replaced by a rename, as those who manage it do."""
    resolv_conf = service.root / "etc/resolv.conf"
    before = resolv_conf.read_text()
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION.replace("servers = []", 'servers = "system"'))
    service.run("systemctl", "restart", "pvtzd.service")
    service.write("/etc/resolv.conf.new", "nameserver 127.0.0.9\n")
    service.run("mv", "/etc/resolv.conf.new", "/etc/resolv.conf")
    until(lambda: 'have changed servers="127.0.0.9' in service.journal(), "the change is noticed")
    service.write("/etc/resolv.conf", before)
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION)


def test_the_api_keeps_its_store_under_all_restrictions(service):
    """Its secret stands in the file here: not every kernel lets systemd give a credential to a service's user."""
    key = '[control]\n[[control.access_key]]\nid = "LTAI-one"\nsecret = "only-for-trials"\n'
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION + key)
    service.run("systemctl", "restart", "pvtzd.service")
    assert dig(service, "www.one.example") == ["192.0.2.1"]
    with service.inside(), socket.create_connection(("127.0.0.1", 5380), timeout=5) as api:
        api.sendall(b"GET /?Action=DescribeZones HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 4" in api.recv(4096), "it answers, and asks for a signature"
    assert len(service.run("ls", "/var/lib/private/pvtzd").stdout.split()) >= 2, "a cache and a store"
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION)


def test_without_the_socket_unit_it_binds_port_53_itself(machine):
    machine.run("systemctl", "mask", "--runtime", "pvtzd.socket")
    try:
        machine.run("systemctl", "start", "pvtzd.service")
        assert dig(machine, "www.one.example") == ["192.0.2.1"]
        machine.run("systemctl", "stop", "pvtzd.service")
    finally:
        machine.run("systemctl", "unmask", "--runtime", "pvtzd.socket")


def test_a_query_starts_a_service_that_does_not_run(service):
    service.run("systemctl", "stop", "pvtzd.service")
    assert service.shown("ActiveState") == "inactive"
    assert dig(service, "www.one.example") == ["192.0.2.1"]
    assert service.shown("ActiveState") == "active"


def test_systemd_hears_what_came_of_a_reload(service):
    first = service.shown("StatusText")
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION + "\n[nonsense]\n")
    service.run("systemctl", "reload", "pvtzd.service")
    until(lambda: "has errors" in service.shown("StatusText"), "the status tells of the faults")
    assert service.shown("ActiveState") == "active"
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION.replace("192.0.2.1", "192.0.2.2"))
    service.run("systemctl", "reload", "pvtzd.service")
    until(lambda: dig(service, "www.one.example") == ["192.0.2.2"], "the change counts")
    assert service.shown("StatusText") == first
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION)


def test_the_watchdog_restarts_one_that_hangs(service):
    service.write("/etc/systemd/system/pvtzd.service.d/watchdog.conf", "[Service]\nWatchdogSec=1s\n")
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", "pvtzd.service")
    first = service.main_pid()
    fed = service.shown("WatchdogTimestampMonotonic")
    until(lambda: service.shown("WatchdogTimestampMonotonic") != fed, "the watchdog is fed")
    assert service.main_pid() == first and service.shown("NRestarts") == "0"
    service.run("kill", "-STOP", first)
    until(lambda: service.main_pid() not in (0, first), "another process", 15)
    assert dig(service, "www.one.example") == ["192.0.2.1"]
    assert service.shown("NRestarts") == "1"
    (service.root / "etc/systemd/system/pvtzd.service.d/watchdog.conf").unlink()
    service.run("systemctl", "daemon-reload")


def test_a_taken_port_is_told_in_the_journal(machine):
    with machine.inside():
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with holder:
        holder.bind(("127.0.0.1", 53))
        started = machine.run("systemctl", "start", "pvtzd.service", check=False)
        assert started.returncode != 0
        assert machine.shown("ExecMainStatus") == "3"
        assert "cannot listen on 127.0.0.1:53 (UDP)" in machine.journal()
    machine.run("systemctl", "stop", "pvtzd.service", "pvtzd.socket")
    machine.run("systemctl", "reset-failed")


def test_addresses_that_only_the_configuration_has_are_told(service):
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION.replace('"127.0.0.1:53"', '"127.0.0.1:53", "127.0.0.1:5353"'))
    service.run("systemctl", "restart", "pvtzd.service")
    assert 'not_served="127.0.0.1:5353"' in service.journal()
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION)


def test_a_wrong_configuration_is_not_started_again_and_again(service):
    service.write("/etc/pvtzd/pvtzd.toml", "[nonsense]\n")
    service.run("systemctl", "restart", "pvtzd.service", check=False)
    until(lambda: service.shown("ActiveState") == "failed", "it has failed")
    assert service.shown("ExecMainStatus") == "78"
    assert service.shown("NRestarts") == "0"
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION)


def test_the_watchdog_is_not_fed_when_queries_get_no_answer(service):
    """The process is well, its timers run, and yet nobody is served: here because loopback is down."""
    service.write("/etc/systemd/system/pvtzd.service.d/watchdog.conf", "[Service]\nWatchdogSec=1s\n")
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", "pvtzd.service")
    first = service.main_pid()
    service.run("ip", "link", "set", "lo", "down")
    try:
        until(lambda: "do not answer" in service.journal(), "the log says so")
        until(lambda: service.main_pid() not in (0, first), "another process", 15)
    finally:
        service.run("ip", "link", "set", "lo", "up")
    (service.root / "etc/systemd/system/pvtzd.service.d/watchdog.conf").unlink()
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", "pvtzd.service")
    assert dig(service, "www.one.example") == ["192.0.2.1"]


def test_the_unit_gives_away_nearly_everything():
    """systemd's own score of what a unit exposes, 0 to 10."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", machines.UNITS / "pvtzd.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_finds_nothing_wrong_with_the_units(machine):
    done = machine.run("systemd-analyze", "verify", "pvtzd.service", "pvtzd.socket")
    assert done.stdout + done.stderr == ""


# --- under load ------------------------------------------------------------------------------------------------

LONG = os.environ.get("PVTZD_LONG_RESTARTS") == "1"
TIMES = 100 if LONG else 10
RATE = 5000 if LONG else 2000  # queries a second


class Connections(threading.Thread):
    """Asks over TCP, a connection for each query. A connection that breaks is made once more, as clients do."""

    def __init__(self, machine, expected):
        super().__init__(daemon=True)
        self.machine, self.expected = machine, expected
        self.over = threading.Event()
        self.asked = self.again = 0
        self.wrong = []

    def run(self):
        with self.machine.inside():
            while not self.over.is_set():
                self.asked += 1
                answers = self.ask()
                if answers is None:
                    self.again += 1
                    answers = self.ask()
                if answers != [self.expected] and len(self.wrong) < 10:
                    self.wrong.append(answers)

    @staticmethod
    def ask():
        try:
            return ask(("127.0.0.1", 53), "www.one.example", tcp=True).values
        except (OSError, EOFError):
            return None


def test_restarts_and_reloads_under_load_lose_no_query(service):
    zone = CONFIGURATION.replace('name = "www"', 'name = "*"').replace('"192.0.2.1"', '"192.0.2.7"')
    service.write("/etc/pvtzd/pvtzd.toml", zone)
    service.run("systemctl", "restart", "pvtzd.service")
    with service.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    over_tcp = Connections(service, "192.0.2.7")
    with sock, Load(sock, ("127.0.0.1", 53), RATE, "192.0.2.7") as load:
        over_tcp.start()
        try:
            pids = set()
            for _ in range(TIMES):
                service.run("systemctl", "restart", "pvtzd.service")
                pids.add(service.main_pid())
                service.run("systemctl", "reload", "pvtzd.service")
                asked = load.asked
                until(lambda: load.asked > asked + RATE // 20, "some queries more")
        finally:
            over_tcp.over.set()
            over_tcp.join(10)
    print(f"{load.asked} queries, {load.again} asked again, slowest {load.slowest * 1000:.0f} ms")
    print(f"{over_tcp.asked} queries over TCP, {over_tcp.again} asked again")
    assert len(pids) == TIMES
    assert load.asked > TIMES * RATE // 20
    assert (load.unanswered, load.wrong, over_tcp.wrong) == (0, [], [])
    assert over_tcp.asked > TIMES
    assert load.again <= load.asked // 1000, "and hardly any was asked twice"
    service.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION)


def test_who_leaves_handed_over_sockets_is_not_woken_by_the_queries_for_the_next(tmp_path, fake):
    """With an upstream that is mute, and queries that lie in the socket: no processor time goes by while it ends."""
    mute = fake(silent)
    file, log = tmp_path / "pvtzd.toml", tmp_path / "log"
    file.write_text(f'[upstream]\nservers = ["{mute.address}"]\n')
    port = free_port()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server(("127.0.0.1", port)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        udp.bind(("127.0.0.1", port))
        client.connect(udp.getsockname())
        handed_over = f"{udp.fileno()} {tcp.fileno()}"
        script = 'exec 3<&"$1" 4<&"$2"; shift 2; LISTEN_PID=$$ LISTEN_FDS=2 exec "$@"'
        words = [*handed_over.split(), binary(), "run", "--config", file, "--metadata", "off"]
        with log.open("wb") as out:
            server = subprocess.Popen(
                ["bash", "-c", script, "bash", *words], pass_fds=[udp.fileno(), tcp.fileno()], stderr=out
            )
        until(lambda: "ready" in log.read_text(), "it serves")
        for number in range(8):
            client.send(dns.message.make_query(f"n{number}.example", "A").to_wire())
        until(lambda: len({asked.name for asked in mute.log if asked.name.startswith("n")}) == 8, "it has asked")
        server.terminate()
        until(lambda: "stopping" in log.read_text(), "it stops")
        for number in range(50):
            client.send(dns.message.make_query(f"later{number}.example", "A").to_wire())
        _, status, used = os.wait4(server.pid, 0)
        server.returncode = os.waitstatus_to_exitcode(status)
        assert server.returncode == 0
        assert used.ru_utime + used.ru_stime < 0.6, "a thread that is woken in vain takes a second and more"
