"""`pvtzd resolver` beside real writers of resolv.conf, from Debian's packages: what they write after a take, which
servers are asked in the next network, and that everything comes back."""

import pytest
from harness.dhcp import Client, Network, install, leads_to, named
from harness.fake import Fake
from harness.instance import GATEWAY, RESOLVERS, US, cloud
from harness.resolved import bus
from harness.wait import until

NAME = "ecs.cn-hangzhou.aliyuncs.com"
SYSTEM = '[server]\nlisten = ["127.0.0.1:53"]\n[endpoints]\nregions = ["cn-hangzhou"]\n'
FIRST, NEXT = RESOLVERS


@pytest.fixture
def network(instance, tmp_path):
    """An instance in a VPC behind eth0 with DHCP."""
    network = Network(instance, tmp_path / "network")
    instance.resolvers = instance.cloud()
    network.serve(FIRST)
    yield network
    network.close()


def take(instance, manager):
    """Takes over; what runs is `manager`."""
    instance.config(SYSTEM)
    server = instance.start(metadata="off")
    assert instance.ask("www.test").values == ["192.0.2.80"], server.log
    taken = instance.pvtzd("resolver", "take", "--metadata", "off", code=0)
    standing = instance.status(code=0)
    assert (standing["manager"], standing["leads"]) == (manager, "us"), standing
    assert named(instance) == [US]
    assert instance.getent(NAME) == [GATEWAY]
    return server, taken


def asked_next(instance, server, name):
    """The server of the next network is asked, by the running pvtzd and by one that is started anew and returned."""
    server.logged(f"upstream servers have changed.*{NEXT}")
    assert instance.ask(name).rcode == "NXDOMAIN"
    assert [resolver.count(name) for resolver in instance.resolvers][1] > 0
    server.stop()
    server = instance.start(metadata="off")
    assert f"other names to {NEXT}" in server.log, server.log
    return server


def in_the_next_network(instance, network, client, server):
    """The next lease leaves resolv.conf to us, and its servers are asked."""
    network.serve(NEXT)
    client.again()
    server = asked_next(instance, server, "next.test")
    assert named(instance) == [US] and instance.status(code=0)["taken"]["in_force"]
    return server


@pytest.mark.parametrize("hooks", [True, False])
def test_the_real_dhclient(instance, network, hooks):
    """With the folder of its hooks, and without."""
    install(instance, "isc-dhcp-client")
    if not hooks:
        instance.namespace.run("rm", "-r", "/etc/dhcp/dhclient-enter-hooks.d")
    instance.file("resolv.conf", "")
    instance.file("fstab", "")  # its script looks whether / is mounted for writing
    instance.namespace.run("mkdir", "/var/lib/dhcp")
    client = Client(instance, "dhclient", "-d", "-lf", "/var/lib/dhcp/dhclient.eth0.leases", "-pf", "/run/dhclient.pid", "eth0")
    try:
        leads_to(instance, client, FIRST)
        until(lambda: not list(instance.etc.glob("resolv.conf.dhclient-new.*")), "its script has ended")
        before = instance.picture()
        server, taken = take(instance, "dhclient")
        assert "note:" not in taken.stderr, "the dhclient that runs reads the hook"
        in_the_next_network(instance, network, client, server)
        instance.pvtzd("resolver", "give-back", code=0)
        after = instance.picture()
        assert {name: after[name] for name in before} == before
        client.again()
        leads_to(instance, client, NEXT)
    finally:
        client.close()


def test_the_real_udhcpc(instance, network):
    install(instance, "busybox")
    instance.file("resolv.conf", "")
    words = ("busybox", "udhcpc", "-f", "-i", "eth0", "-s", "/etc/udhcpc/default.script", "-p", "/run/udhcpc.pid")
    client = Client(instance, *words)
    try:
        leads_to(instance, client, FIRST)
        server, _ = take(instance, "udhcpc")
        in_the_next_network(instance, network, client, server)
        instance.pvtzd("resolver", "give-back", code=0)
        assert named(instance) == [FIRST]
        client.again()
        leads_to(instance, client, NEXT)
    finally:
        client.close()


def test_the_real_dhcpcd(instance, network):
    install(instance, "dhcpcd")
    instance.file("resolv.conf", "")
    instance.namespace.run("mkdir", "-p", "/var/lib/dhcpcd", "/run/dhcpcd")
    client = Client(instance, "dhcpcd", "-B", "-4", "-A", "eth0")
    try:
        leads_to(instance, client, FIRST)
        server, _ = take(instance, "dhcpcd")
        in_the_next_network(instance, network, client, server)
        given = instance.pvtzd("resolver", "give-back", code=0)
        assert f"until dhcpcd renews its lease; those of the current network are {NEXT}" in given.stderr
        assert instance.namespace.run("test", "-e", "/run/pvtzd-dhcpcd", check=False).returncode != 0
        client.again()
        leads_to(instance, client, NEXT)
    finally:
        client.close()


# Advertises the server fe80::53 again and again (RFC 4861 section 4.2, RFC 8106 section 5.1).
ROUTER = """
import socket, struct, time
router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
interface = socket.if_nametoindex("eth0")
router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
router.bind(("fe80::53", 0, 0, interface))
server = struct.pack("!BBHI", 25, 3, 0, 1200) + socket.inet_pton(socket.AF_INET6, "fe80::53")
while True:
    router.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + server, ("ff02::1", 0, 0, interface))
    time.sleep(0.2)
"""


def test_router_advertisements_through_the_real_dhcpcd(instance, network):
    """Their servers are link-local: the interface is kept in resolv.conf, in what is remembered and in what is followed."""
    install(instance, "dhcpcd")
    instance.file("resolv.conf", "")
    instance.namespace.run("mkdir", "-p", "/var/lib/dhcpcd", "/run/dhcpcd")
    network.outside.run("ip", "address", "add", "fe80::53/64", "dev", "eth0", "nodad")
    with network.outside.inside():
        instance.made.append(Fake(cloud, host="fe80::53%eth0", port=53))
    router = network.outside.process("python3", "-c", ROUTER)
    client = Client(instance, "dhcpcd", "-B", "-A", "eth0")
    try:
        until(lambda: "fe80::53%eth0" in named(instance), "the advertisement is taken", 20)
        router.kill()  # a script that has begun before the take would write resolv.conf after it
        server, _ = take(instance, "dhcpcd")
        assert "fe80::53%eth0" in instance.status()["taken"]["upstream"]
        router = network.outside.process("python3", "-c", ROUTER)
        advertised = ("grep", "-q", "fe80::53%eth0", "/run/pvtzd-dhcpcd/eth0.ra")
        until(lambda: instance.namespace.run(*advertised, check=False).returncode == 0, "the hook has written it", 20)
        router.kill()
        server = in_the_next_network(instance, network, client, server)
        assert "fe80" not in server.log, "what the former network advertised is forgotten"
        router = network.outside.process("python3", "-c", ROUTER)
        server.logged(r"upstream servers have changed.*\[fe80::53%eth0\]:53")
        given = instance.pvtzd("resolver", "give-back", code=0)
        assert "until dhcpcd renews its lease" not in given.stderr, "one of the servers is the former one"
    finally:
        client.close()
        router.kill()


def test_the_proxy_of_network_manager(instance):
    """With dns=dnsmasq resolv.conf names NetworkManager's own proxy, which ends with the take."""
    instance.manager("network-manager")
    text = "# Generated by NetworkManager\nnameserver 127.0.1.1\n"
    instance.file("resolv.conf", text)
    (instance.fake / "generated").write_text(text)
    instance.cloud()
    with instance.namespace.inside():
        proxy = Fake(cloud, host="127.0.1.1", port=53)
    instance.made.append(proxy)
    script = f"mkdir /run/NetworkManager; echo nameserver {FIRST} >/run/NetworkManager/no-stub-resolv.conf"
    instance.namespace.run("sh", "-c", script)
    instance.config(SYSTEM)
    server = instance.start(metadata="off")
    assert "other names to 127.0.1.1" in server.log
    instance.pvtzd("resolver", "take", "--metadata", "off", code=0)
    proxy.stop()
    server.logged(f"upstream servers have changed.*{FIRST}")
    assert instance.ask("www.test").values == ["192.0.2.80"], server.log


def resolvconf(instance, record, *servers):
    """Gives resolvconf the servers of an interface, as DHCP clients do."""
    text = "".join(f"nameserver {server}\\n" for server in servers)
    instance.namespace.run("sh", "-c", f"printf '{text}' | resolvconf -a {record}")


def test_debians_real_resolvconf(instance):
    install(instance, "resolvconf")
    instance.resolvers = instance.cloud()
    run = instance.namespace.run
    run("mkdir", "-p", "/run/resolvconf/interface")
    instance.link("resolv.conf", "/run/resolvconf/resolv.conf")
    run("resolvconf", "--enable-updates")
    resolvconf(instance, "eth0.dhclient", FIRST)
    assert named(instance) == [FIRST]
    before = instance.picture()
    server, _ = take(instance, "resolvconf")
    resolvconf(instance, "eth0.dhclient", NEXT)
    assert named(instance) == [US], "a lease does not put its server beside ours"
    asked_next(instance, server, "next.test")
    instance.pvtzd("resolver", "give-back", code=0)
    assert named(instance) == [NEXT]
    after = instance.picture()
    assert {name: after[name] for name in before} == before and not any("zz-" in name for name in after)


def test_the_real_openresolv(instance):
    install(instance, "openresolv")
    instance.resolvers = instance.cloud()
    instance.file("resolv.conf", "")
    resolvconf(instance, "eth0", FIRST)
    assert named(instance) == [FIRST]
    before = instance.picture()
    server, _ = take(instance, "openresolv")
    resolvconf(instance, "eth0", NEXT)
    assert named(instance) == [US]
    asked_next(instance, server, "next.test")
    instance.pvtzd("resolver", "give-back", code=0)
    assert named(instance) == [NEXT]
    assert instance.picture()["resolvconf.conf"] == before["resolvconf.conf"]


# In place of systemctl: the daemon reads its configuration at SIGHUP.
SYSTEMCTL = """#!/bin/sh
case "$1" in
is-active) [ "$3" = NetworkManager ]; exit ;;
reload) exec kill -HUP "$(cat {fake}/client.pid)" ;;
esac
"""


NETWORK_MANAGER = """[main]
plugins=keyfile
dhcp=internal
auth-polkit=false
[device-eth0]
match-device=interface-name:eth0
managed=1
"""

CONNECTION = """[connection]
id=eth0
uuid=0d5e3f0a-6f2e-4a53-8d6f-6a5a9a3f8b11
type=ethernet
interface-name=eth0
[ipv4]
method=auto
[ipv6]
method=disabled
"""


def test_the_real_network_manager(instance, network):
    install(instance, "network-manager")
    instance.file("resolv.conf", "")
    instance.file("machine-id", "0123456789abcdef0123456789abcdef\n")
    instance.program("systemctl", SYSTEMCTL.format(fake=instance.fake))
    run = instance.namespace.run
    tried = run("NetworkManager", "--version", check=False)
    if tried.returncode != 0:
        pytest.skip(f"NetworkManager does not start here: {tried.stderr}")
    run("mount", "-t", "sysfs", "-o", "ro", "sysfs", "/sys")  # read-only: it then waits for no udev
    run("mkdir", "-p", "/run/dbus", "/var/lib/NetworkManager", "/run/udev")
    instance.file("NetworkManager/NetworkManager.conf", NETWORK_MANAGER)
    instance.file("NetworkManager/system-connections/eth0.nmconnection", CONNECTION).chmod(0o600)
    bus(instance)
    client = Client(instance, "NetworkManager", "--debug", "--log-level=INFO")
    try:
        run("ip", "link", "set", "eth0", "up")
        leads_to(instance, client, FIRST)
        server, _ = take(instance, "network-manager")
        in_the_next_network(instance, network, client, server)
        instance.pvtzd("resolver", "give-back", code=0)
        leads_to(instance, client, NEXT)
    finally:
        client.close()


def test_a_server_of_a_link_local_address(instance, network):
    """`nameserver fe80::53%eth0`, as router advertisements bring it: through the take, a restart and `servers`."""
    address = "fe80::53"
    network.outside.run("ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
    instance.namespace.run("ip", "address", "add", "fe80::1/64", "dev", "eth0", "nodad")
    with network.outside.inside():
        router = Fake(cloud, host=f"{address}%eth0", port=53)
    instance.made.append(router)
    instance.file("resolv.conf", f"nameserver {address}%eth0\n")
    instance.config(SYSTEM)
    server = instance.start(metadata="off")
    assert instance.ask("www.test").values == ["192.0.2.80"], server.log
    instance.pvtzd("resolver", "take", "--metadata", "off", code=0)
    assert named(instance) == [US]
    assert instance.status(code=0)["taken"]["upstream"] == [f"{address}%eth0"]
    for upstream in ("", f'[upstream]\nservers = ["{address}%eth0"]\n'):
        server.stop()
        instance.config(SYSTEM + upstream)
        instance.namespace.run("rm", "-rf", "/var/lib/pvtzd")
        server = instance.start(metadata="off")
        assert f"other names to [{address}%eth0]:53" in server.log, server.log
        asked = router.count("www.test")
        assert instance.ask("www.test").values == ["192.0.2.80"], server.log
        assert router.count("www.test") > asked
    instance.pvtzd("resolver", "give-back", code=0)
    assert named(instance) == [f"{address}%eth0"]
