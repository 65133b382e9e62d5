"""Listen addresses: wildcards answer from the address that was asked, IPv6."""

import json
import socket

import pytest
from harness.ask import ask, exchange, query
from harness.process import binary, free_port

ZONE = """
[server]
allow = ["127.0.0.0/8", "::1/128"]
[[zone]]
name = "p.example"
[[zone.record]]
name = "www"
type = "A"
value = "10.0.0.1"
"""


def test_a_wildcard_socket_answers_from_the_address_that_was_asked(start):
    server = start(ZONE, listen=("0.0.0.0:0",))
    for host in ("127.0.0.1", "127.0.0.5", "127.44.3.2"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(6)
            sock.sendto(query("www.p.example").to_wire(), (host, server.port))
            assert sock.recvfrom(4096)[1] == (host, server.port)
        assert ask((host, server.port), "www.p.example", tcp=True).values == ["10.0.0.1"]


def test_the_same_holds_for_an_answer_that_had_to_be_waited_for(start, fake):
    server = start(ZONE, listen=("0.0.0.0:0",), upstream=[fake()])
    for number, host in enumerate(("127.0.0.5", "127.0.0.6")):
        assert exchange((host, server.port), query(f"n{number}.test").to_wire()), "a connected socket hears it"


@pytest.mark.parametrize("address", ["[::1]:0", "[::]:0"])
def test_ipv6(start, address):
    server = start(ZONE, listen=(address,))
    where = ("::1", server.port)
    assert ask(where, "www.p.example").values == ["10.0.0.1"]
    assert ask(where, "www.p.example", tcp=True).values == ["10.0.0.1"]


def test_both_wildcards_share_a_port(start):
    port = free_port("0.0.0.0")
    server = start(ZONE, listen=(f"0.0.0.0:{port}", f"[::]:{port}"))
    for host in ("127.0.0.8", "::1"):
        assert ask((host, port), "www.p.example").values == ["10.0.0.1"]
    assert len(server.listening) == 2


def test_several_addresses_and_those_of_the_configuration(start):
    first, second = free_port("127.0.0.11"), free_port("127.0.0.12")
    text = ZONE.replace("[server]", f'[server]\nlisten = ["127.0.0.11:{first}", "127.0.0.12:{second}"]')
    server = start(text, listen=())
    assert server.listening == [("127.0.0.11", first), ("127.0.0.12", second)]
    for where in server.listening:
        assert ask(where, "www.p.example").values == ["10.0.0.1"]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"])
def test_a_socket_that_waited_over_a_change_answers_by_what_is_in_force(start, address):
    """The thread waits in the kernel for the next question, however long ago it went there."""
    server = start(ZONE, listen=(address,))
    host = "::1" if "[" in address else "127.0.0.1"
    for number in range(1, 5):
        assert ask((host, server.port), "www.p.example").values == [f"10.0.0.{number}"]
        server.reload(ZONE.replace("10.0.0.1", f"10.0.0.{number + 1}") + "\n[upstream]\nservers = []\n")


def test_an_address_that_comes_later_is_served_once_it_is_there(start, namespace):
    """A floating address: bound freely, said so, left out by health; then it comes, goes and comes again."""
    text = ZONE.replace('"::1/128"', '"::1/128", "10.9.9.0/24"') + '[ops]\nlisten = "127.0.0.1:9153"\n'
    late = ("10.9.9.9", "fd00:9::9")
    server = start(text, listen=("127.0.0.1:53", "10.9.9.9:53", "[fd00:9::9]:53"), prefix=namespace.prefix)
    server.logged(r"no interface of this machine has this address yet.*10\.9\.9\.9:53")

    def pvtzd(*words):
        return namespace.run(binary(), *words, "--config", server.config_file, check=False).stdout

    def absent():
        return json.loads(pvtzd("status", "--json"))["absent"]

    def healthy():
        return namespace.run("curl", "-s", "-m", "10", "http://127.0.0.1:9153/health").stdout == "ok\n"

    assert absent() == ["10.9.9.9:53", "[fd00:9::9]:53"] and healthy()
    assert "ABSENT" in pvtzd("status")
    assert "no interface has the address of 10.9.9.9:53 yet" in pvtzd("doctor", "--metadata", "off", "--listen", "127.0.0.1:53")
    for _ in range(2):
        namespace.run("ip", "address", "add", "10.9.9.9/32", "dev", "lo")
        namespace.run("ip", "address", "add", "fd00:9::9/128", "dev", "lo", "nodad")
        assert absent() == [] and healthy()
        with namespace.inside():
            for host in late[:1]:
                assert ask((host, 53), "www.p.example").values == ["10.0.0.1"]
                assert ask((host, 53), "www.p.example", tcp=True).values == ["10.0.0.1"]
            assert ask((late[1], 53), "www.p.example").rcode == "REFUSED", "it is served, to who may ask"
        namespace.run("ip", "address", "del", "10.9.9.9/32", "dev", "lo")
        namespace.run("ip", "address", "del", "fd00:9::9/128", "dev", "lo")
        assert absent() != [] and healthy()
