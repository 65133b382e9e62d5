"""pvtzd as a machine's resolver: in a network namespace whose only nameserver it is."""

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.ask import ask
from harness.fake import Fake, address, nxdomain
from harness.process import ROOT, Pvtzd, binary
from harness.wait import until

RESOLVERS = ("100.100.2.136", "100.100.2.138")  # those inside a VPC
METADATA = "100.100.100.200"
GATEWAY = "100.100.0.1"
SYSTEM = '[upstream]\nservers = "system"\n'
OURS = ("127.0.0.1", 53)


def cloud(asked):
    """The resolver inside a VPC, as far as the tests need one."""
    table = {
        "popunify-vpc.cn-hangzhou.aliyuncs.com": GATEWAY,
        "popunify-vpc.cn-shanghai.aliyuncs.com": "100.100.0.2",
        "ecs.cn-hangzhou.aliyuncs.com": "203.0.113.2",
        "ecs.cn-shanghai.aliyuncs.com": "203.0.113.3",
        "www.test": "192.0.2.80",
    }
    found = table.get(asked.name)
    if found and asked.rtype == "A":
        return asked.response(f"@ 60 IN A {found}")
    if found:
        return address()(asked)  # NODATA
    return nxdomain()(asked)


@pytest.fixture
def machine(namespace, start, tmp_path):
    """A machine in a VPC; `machine.resolver(ip)` starts a resolver, `machine.pvtzd(text)` the sidecar on port 53."""
    made = []

    class Machine:
        def resolver(self, ip=RESOLVERS[0], script=cloud):
            if ip != "127.0.0.53":
                namespace.address(ip)
            with namespace.inside():
                made.append(Fake(script, host=ip, port=53))
            return made[-1]

        def pvtzd(self, text="", listen=("127.0.0.1:53",), **options):
            # the harness's own [upstream] section would come second
            file = tmp_path / f"machine-{len(made)}.toml"
            file.write_text(text)
            server = Pvtzd(file, listen=listen, prefix=namespace.prefix, **options)
            made.append(server)
            return server

        def ask(self, name, rtype="A", where=OURS, **kind):
            with namespace.inside():
                return ask(where, name, rtype, **kind)

    machine = Machine()
    machine.namespace = namespace
    yield machine
    for one in reversed(made):
        one.kill() if hasattr(one, "kill") else one.close()


def nameservers(machine, *addresses):
    """Rewrites resolv.conf in place, as resolvconf programs do through a bind mount."""
    machine.namespace.resolv_conf.write_text("".join(f"nameserver {ip}\n" for ip in addresses))


def test_glibc_and_ping_find_the_gateway(machine):
    machine.resolver()
    machine.namespace.address(GATEWAY)
    nameservers(machine, "127.0.0.1")
    machine.pvtzd(f'[upstream]\nservers = ["{RESOLVERS[0]}"]\n')
    run = machine.namespace.run
    hosts = run("getent", "ahosts", "ecs.cn-hangzhou.aliyuncs.com").stdout
    assert hosts.split()[0] == GATEWAY and "popunify-vpc.cn-hangzhou.aliyuncs.com" in hosts
    program = (
        "import json, socket\n"
        "found = socket.getaddrinfo('ecs.cn-hangzhou.aliyuncs.com', 443, type=socket.SOCK_STREAM)\n"
        "print(json.dumps([one[4][0] for one in found]))"
    )
    assert json.loads(run("python3", "-c", program).stdout) == [GATEWAY]
    ping = run("ping", "-c1", "-W5", "ecs.cn-hangzhou.aliyuncs.com").stdout
    assert f"popunify-vpc.cn-hangzhou.aliyuncs.com ({GATEWAY})" in ping and "1 received" in ping
    assert run("getent", "ahosts", "www.test").stdout.split()[0] == "192.0.2.80"
    assert run("getent", "ahosts", "none.test", check=False).returncode == 2
    dug = run("dig", "+short", "ecs.cn-hangzhou.aliyuncs.com").stdout
    assert dug.split() == ["popunify-vpc.cn-hangzhou.aliyuncs.com.", GATEWAY]


def test_the_system_s_servers_are_the_upstream_without_ourselves_and_the_stub(machine):
    machine.resolver()
    nameservers(machine, "127.0.0.1", "127.0.0.53", RESOLVERS[0], RESOLVERS[0])
    server = machine.pvtzd(SYSTEM)
    for words in (
        r"127\.0\.0\.1 is ignored: this server itself listens there",
        r"127\.0\.0\.53 is ignored: it is the stub",
        rf"{RESOLVERS[0]} is ignored: it is listed twice",
    ):
        assert re.search(words, server.log), server.log
    assert f"other names to {RESOLVERS[0]}" in server.log
    assert machine.ask("www.test").values == ["192.0.2.80"]


def test_each_of_our_own_addresses_is_left_out(machine):
    machine.resolver()
    machine.namespace.address("100.64.7.7")
    nameservers(machine, "100.64.7.7", "127.0.0.9", RESOLVERS[0])
    server = machine.pvtzd(SYSTEM, listen=("127.0.0.9:53", "100.64.7.7:53"))
    assert "100.64.7.7 is ignored" in server.log and "127.0.0.9 is ignored" in server.log
    assert machine.ask("www.test", where=("127.0.0.9", 53)).values == ["192.0.2.80"]


def test_behind_the_stub_are_the_real_servers(machine):
    machine.resolver()
    folder = machine.namespace
    folder.run("mkdir", "-p", "/run/systemd/resolve")
    folder.run("sh", "-c", f"echo nameserver {RESOLVERS[0]} > /run/systemd/resolve/resolv.conf")
    nameservers(machine, "127.0.0.53")
    server = machine.pvtzd(SYSTEM)
    assert "stub of systemd-resolved" in server.log and f"other names to {RESOLVERS[0]}" in server.log
    assert machine.ask("www.test").values == ["192.0.2.80"]


def test_a_change_of_the_file_is_noticed(machine):
    machine.resolver(RESOLVERS[0], address("192.0.2.1"))
    machine.resolver(RESOLVERS[1], address("192.0.2.2"))
    nameservers(machine, RESOLVERS[0])
    server = machine.pvtzd(SYSTEM)
    assert machine.ask("a.test").values == ["192.0.2.1"]
    nameservers(machine, RESOLVERS[1])
    server.logged(r"upstream servers have changed")
    assert machine.ask("b.test").values == ["192.0.2.2"]


def test_a_machine_without_any_nameserver_still_answers_what_is_private(machine):
    nameservers(machine)
    server = machine.pvtzd(f'{SYSTEM}[[zone]]\nname = "p.example"\n[[zone.record]]\nname = "@"\ntype = "A"\nvalue = "10.0.0.1"\n')
    assert "has no usable upstream server" in server.log
    assert machine.ask("p.example").values == ["10.0.0.1"]
    failed = machine.ask("www.test")
    assert failed.rcode == "SERVFAIL" and failed.ede and failed.elapsed < 1
    machine.resolver()
    nameservers(machine, RESOLVERS[0])
    server.logged(r"upstream servers have changed")
    assert machine.ask("www.test").values == ["192.0.2.80"]


def test_the_fallback_sample_starts_where_ipv6_is_switched_off(machine):
    machine.namespace.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    machine.resolver()
    nameservers(machine, RESOLVERS[0])
    text = (ROOT / "config" / "fallback.toml").read_text()
    machine.pvtzd(text, listen=(), arguments=("--state-dir", "/run/pvtzd"))
    assert machine.ask("www.test").values == ["192.0.2.80"]


def test_the_fallback_sample_does_its_job(machine):
    machine.resolver()
    nameservers(machine, "127.0.0.1", RESOLVERS[0])
    text = (ROOT / "config" / "fallback.toml").read_text()
    server = machine.pvtzd(text, listen=(), arguments=("--state-dir", "/run/pvtzd"))
    assert server.listening == [("127.0.0.1", 53)]
    assert machine.ask("ecs.cn-hangzhou.aliyuncs.com").values[-1] == GATEWAY


def test_a_network_that_comes_up_late(machine):
    """resolv.conf is right, the way to the server is not there yet; once it is, names resolve within seconds."""
    nameservers(machine, RESOLVERS[0])
    machine.pvtzd(SYSTEM)
    failed = machine.ask("www.test")
    assert failed.rcode == "SERVFAIL" and failed.elapsed < 1, "no route is known at once"
    machine.resolver()
    until(lambda: machine.ask("www.test").values == ["192.0.2.80"], "it resolves", 6)


@pytest.fixture
def wired(machine, namespaces):
    """The machine, and the cloud as another one at the end of a cable, with the resolver."""
    cloud_side = namespaces()
    machine.namespace.join(cloud_side)
    cloud_side.address(RESOLVERS[0])
    with cloud_side.inside():
        resolver = Fake(cloud, host=RESOLVERS[0], port=53)
    machine.cable = lambda state: machine.namespace.run("ip", "link", "set", "eth0", state)
    machine.route = lambda: machine.namespace.run("ip", "route", "add", "default", "via", "10.99.0.2")
    yield machine
    resolver.close()


def test_a_wildcard_listener_leaves_out_every_address_of_the_machine(wired):
    nameservers(wired, "10.99.0.1", "127.0.0.9", "0.0.0.0", RESOLVERS[0])
    server = wired.pvtzd(SYSTEM, listen=("0.0.0.0:53",))
    for ours in ("10.99.0.1", "127.0.0.9", "127.0.0.1"):
        assert f"{ours} is ignored: this server itself listens there" in server.log
    assert f"other names to {RESOLVERS[0]}" in server.log
    assert wired.ask("www.test").values == ["192.0.2.80"]
    assert wired.ask("www.test", where=("10.99.0.1", 53)).rcode == "REFUSED", "the client has that address too"


def test_a_cable_that_is_pulled_and_put_back(wired):
    nameservers(wired, RESOLVERS[0])
    text = f'[cache]\nserve_stale = "off"\n{SYSTEM}'
    wired.pvtzd(text)
    assert wired.ask("www.test").values == ["192.0.2.80"]
    wired.cable("down")
    failed = wired.ask("ecs.cn-hangzhou.aliyuncs.com")
    assert failed.rcode == "SERVFAIL" and failed.ede and failed.elapsed < 4.5
    assert wired.ask("www.test").values == ["192.0.2.80"], "out of the cache"
    wired.cable("up")
    wired.route()  # it went with the cable
    until(lambda: wired.ask("ecs.cn-hangzhou.aliyuncs.com").rcode == "NOERROR", "names resolve again", 15)


def metadata(machine, region="cn-hangzhou", token=False, vpc="vpc-bp1stub"):
    """The instance metadata service; with `token` plain requests are refused."""
    machine.namespace.address(METADATA)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def give(self, status, body=""):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_PUT(self):
            asked.append(self.path)
            seconds = self.headers.get("X-aliyun-ecs-metadata-token-ttl-seconds", "")
            if token and self.path == "/latest/api/token" and seconds.isdigit():
                self.give(200, "TOKEN-1")
            else:
                self.give(404)

        def do_GET(self):
            asked.append(self.path)
            if token and self.headers.get("X-aliyun-ecs-metadata-token") != "TOKEN-1":
                return self.give(403)
            items = {"/latest/meta-data/region-id": region, "/latest/meta-data/vpc-id": vpc}
            found = items.get(self.path)
            return self.give(200, found) if found else self.give(404)

    with machine.namespace.inside():
        service = ThreadingHTTPServer((METADATA, 80), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    service.asked = asked
    return service


@pytest.mark.parametrize("token", [False, True], ids=["plain", "token"])
def test_the_metadata_service_selects_the_region(machine, token):
    machine.resolver()
    service = metadata(machine, token=token)
    server = machine.pvtzd(f'[upstream]\nservers = ["{RESOLVERS[0]}"]\n', metadata=f"{METADATA}:80")
    server.logged(r'the metadata service answered region="cn-hangzhou" vpc="vpc-bp1stub"')
    assert machine.ask("ecs.cn-hangzhou.aliyuncs.com").values[-1] == GATEWAY
    assert machine.ask("ecs.cn-shanghai.aliyuncs.com").values == ["203.0.113.3"], "of another region"
    assert service.asked[0] == "/latest/api/token", "the hardened way first"
    service.shutdown()
    service.server_close()


def test_the_central_name_leads_to_this_region_once_it_is_known(machine):
    machine.resolver()
    service = metadata(machine, region="cn-shanghai")
    server = machine.pvtzd(f'[upstream]\nservers = ["{RESOLVERS[0]}"]\n', metadata=f"{METADATA}:80")
    server.logged(r"the metadata service answered")
    assert machine.ask("ecs.aliyuncs.com").values == ["popunify-vpc.cn-shanghai.aliyuncs.com", "100.100.0.2"]
    service.shutdown()
    service.server_close()


def test_without_a_metadata_service_the_whole_table_is_served_from_the_first_answer(machine):
    machine.resolver()
    machine.pvtzd(f'[upstream]\nservers = ["{RESOLVERS[0]}"]\n', metadata=f"{METADATA}:80")
    for region, expected in (("cn-hangzhou", GATEWAY), ("cn-shanghai", "100.100.0.2")):
        answer = machine.ask(f"ecs.{region}.aliyuncs.com")
        assert answer.values[-1] == expected and answer.elapsed < 1


def test_a_metadata_service_that_hangs_delays_nothing(machine):
    machine.resolver()
    machine.namespace.address(METADATA)
    with machine.namespace.inside():
        hanging = socket.create_server((METADATA, 80))
    server = machine.pvtzd(f'[upstream]\nservers = ["{RESOLVERS[0]}"]\n', metadata=f"{METADATA}:80")
    answer = machine.ask("ecs.cn-hangzhou.aliyuncs.com")
    assert answer.values[-1] == GATEWAY and answer.elapsed < 1
    assert "metadata service answered" not in server.log
    hanging.close()


def test_metadata_that_makes_no_sense_is_not_believed(machine):
    machine.resolver()
    service = metadata(machine, region="<html>captive portal</html>")
    server = machine.pvtzd(f'[upstream]\nservers = ["{RESOLVERS[0]}"]\n', metadata=f"{METADATA}:80")
    server.logged(r'the metadata service answered region="unknown"')
    assert machine.ask("ecs.cn-shanghai.aliyuncs.com").values[-1] == "100.100.0.2", "the whole table"
    service.shutdown()
    service.server_close()


def test_what_is_no_metadata_service_is_asked_again_until_it_is_one(machine):
    """A proxy that refuses, then the page of a network that wants a login, then the service."""
    machine.resolver()
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append(self.path)
            if len(asked) <= 3:
                status, body = 403, "denied by the proxy"
            elif len(asked) <= 4:
                status, body = 200, "<html>" + "log in " * 2000
            else:
                status, body = 200, {"/latest/meta-data/region-id": "cn-hangzhou"}.get(self.path, "vpc-bp1stub")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_GET

    machine.namespace.address(METADATA)
    with machine.namespace.inside():
        service = ThreadingHTTPServer((METADATA, 80), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    server = machine.pvtzd(f'[upstream]\nservers = ["{RESOLVERS[0]}"]\n', metadata=f"{METADATA}:80")
    server.logged(r"not the metadata service; retrying later .*found=.*403")
    server.logged(r'the metadata service answered region="cn-hangzhou" vpc="vpc-bp1stub"')
    service.shutdown()
    service.server_close()


def test_the_defaults_on_an_instance(machine):
    """No option at all but the port: metadata, region and upstream are found."""
    machine.resolver()
    service = metadata(machine)
    nameservers(machine, "127.0.0.1", RESOLVERS[0])
    process = machine.namespace.process(binary(), env={"PATH": "/usr/bin:/bin", "PVTZD_CONFIG": "/dev/null"})
    try:
        process.logged(r'ready listen="127.0.0.1:5335"')
        process.logged(r'the metadata service answered region="cn-hangzhou"')
        answer = machine.ask("ecs.cn-hangzhou.aliyuncs.com", where=("127.0.0.1", 5335))
        assert [answer.values[-1], answer.ttls] == [GATEWAY, [60, 60]]
    finally:
        process.kill()
        service.shutdown()
        service.server_close()
