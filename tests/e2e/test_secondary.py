"""Secondary zones from real primaries: full and incremental transfers, NOTIFY, TSIG, timers, restarts."""

import contextlib
import json
import socket
import struct
import subprocess
import threading

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import pytest
from harness import metrics
from harness.primary import APEX, HOST, Key, PrimaryServer
from harness.process import binary, free_port
from harness.wait import until

KINDS = ["nsd", "bind", "knot"]
FIRST = "www A 192.0.2.1\nold A 192.0.2.2\nalias CNAME www\n*.wild A 192.0.2.9\n"
SECOND = "www A 192.0.2.1\nnew A 192.0.2.3\nalias CNAME new\n*.wild A 192.0.2.9\n"
LAZY = (86400, 86400, 864000)  # nothing happens by itself


@pytest.fixture
def primary(tmp_path):
    """Starts primaries: `primary(kind, notify)`."""
    made = []

    def make(kind, notify, *, key=None, records=FIRST, timers=LAZY, port=None):
        folder = tmp_path / f"primary-{len(made)}"
        made.append(PrimaryServer(kind, folder, port or free_port(HOST), notify, key, records, timers))
        return made[-1]

    yield make
    for server in made:
        server.kill()


def config(primaries, key=None, state=None, more=""):
    """A configuration with the zone as a secondary one."""
    listed = ", ".join(f'"{getattr(primary, "address", primary)}"' for primary in primaries)
    kept = f'[server]\nstate_dir = "{state}"\n' if state else ""
    tsig = f'tsig = "{key.name}"\n' if key else ""
    secondary = f'[[secondary]]\nzone = "{APEX}"\nprimaries = [{listed}]\n{tsig}{more}'
    return f"{kept}{metrics.OPS}{key.toml if key else ''}{secondary}"


def serves(server, name, *values, patience=20.0):
    """Waits until a name has these addresses."""
    wanted = sorted(values)
    until(lambda: sorted(server.ask(f"{name}.{APEX}").values) == wanted, f"{name} is {wanted}", patience)


def transfers(server, result):
    return metrics.total(server, "pvtzd_secondary_transfers_total", result=result)


@pytest.mark.parametrize("algorithm", [None, "hmac-sha256", "hmac-sha384", "hmac-sha512"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_zone_comes_whole_and_then_by_its_changes(start, primary, kind, algorithm):
    port, key = free_port(HOST), Key(algorithm) if algorithm else None
    server_of_zone = primary(kind, port, key=key)
    server = start(config([server_of_zone], key), listen=(f"{HOST}:{port}",))
    serves(server, "www", "192.0.2.1")
    serves(server, "old", "192.0.2.2")
    assert server.ask(f"a.wild.{APEX}").values == ["192.0.2.9"]
    assert server.ask(f"alias.{APEX}").values == [f"www.{APEX}", "192.0.2.1"]
    denied = server.ask(f"none.{APEX}")
    assert denied.rcode == "NXDOMAIN" and f"{APEX} SOA ns.lab host.lab 1 " in denied.authority[0]
    assert server.ask(APEX, "NS").values == ["ns.lab"]
    server_of_zone.publish(SECOND)
    serves(server, "new", "192.0.2.3")
    assert server.ask(f"old.{APEX}").rcode == "NXDOMAIN"
    assert server.ask(f"alias.{APEX}").values == [f"new.{APEX}", "192.0.2.3"]
    assert server.ask(APEX, "SOA").values[0].split()[2] == "2"
    assert (transfers(server, "full"), transfers(server, "incremental")) == (1, 1)
    assert metrics.total(server, "pvtzd_secondary_notifies_total", result="taken") >= 1
    assert metrics.total(server, "pvtzd_secondary_serial") == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_zone_comes_in_many_messages(start, primary, kind):
    """nsd signs one message in many: those between two signatures are held against the next."""
    key, count = Key(), 40_000
    records = "".join(f"host-{n} A 10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(count))
    port = free_port(HOST)
    server_of_zone = primary(kind, port, key=key, records=records)
    server = start(config([server_of_zone], key), listen=(f"{HOST}:{port}",))
    serves(server, f"host-{count - 1}", f"10.0.{(count - 1) >> 8}.{(count - 1) & 255}", patience=60)
    server_of_zone.publish(records + "one-more A 192.0.2.7\n")
    serves(server, "one-more", "192.0.2.7", patience=60)
    assert (transfers(server, "full"), transfers(server, "incremental")) == (1, 1)


@pytest.mark.parametrize("wrong", ["secret", "name", "algorithm", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_key_brings_nothing(start, primary, kind, wrong):
    right = Key()
    given = {
        "secret": Key(secret="b3RoZXItc2VjcmV0LW9mLXRoaXJ0eS10d28tb2N0ZXRzIQ=="),
        "name": Key(name="other.test"),
        "algorithm": Key("hmac-sha512", secret=right.secret),
        "none": None,
    }[wrong]
    port = free_port(HOST)
    server_of_zone = primary(kind, port, key=right)
    server = start(config([server_of_zone], given), listen=(f"{HOST}:{port}",))
    server.logged(rf"no primary has sent the secondary zone.*zone=\"?{APEX}|zone.*no primary has sent")
    answer = server.ask(f"www.{APEX}")
    assert (answer.rcode, answer.ede) == ("SERVFAIL", [14]), answer
    assert "not been transferred" in answer.ede_text
    server.reload(config([server_of_zone], right) + "\n[upstream]\nservers = []\n")
    serves(server, "www", "192.0.2.1")


def test_clocks_that_differ_are_told(start, primary, program, other_build, tmp_path):
    """The primary's clock is a day ahead of ours."""
    key, port = Key(), free_port(HOST)
    server_of_zone = primary("knot", port, key=key)
    library, clock = program("wallclock", "-shared", "-fPIC"), tmp_path / "clock"
    clock.write_bytes(struct.pack("=q", -86400))
    env = {"LD_PRELOAD": str(library), "WALLCLOCK": str(clock)}
    server = start(config([server_of_zone], key), listen=(f"{HOST}:{port}",), env=env)
    server.logged("BADTIME|clocks differ")
    assert server.ask(f"www.{APEX}").rcode == "SERVFAIL"


@pytest.mark.parametrize("kind", KINDS)
def test_the_copy_survives_a_restart_without_primaries(start, primary, tmp_path, kind):
    state, port = tmp_path / "state", free_port(HOST)
    state.mkdir()
    server_of_zone = primary(kind, port)
    text = config([server_of_zone], state=state)
    server = start(text, listen=(f"{HOST}:{port}",))
    serves(server, "www", "192.0.2.1")
    server_of_zone.publish(SECOND)
    serves(server, "new", "192.0.2.3")
    assert server.stop() == 0
    server_of_zone.kill()
    again = start(text, listen=(f"{HOST}:{port}",))
    assert again.ask(f"new.{APEX}").values == ["192.0.2.3"]  # the first answer
    assert again.ask(f"old.{APEX}").rcode == "NXDOMAIN"
    explained = json.loads(
        subprocess.run(
            [binary(), "explain", "--config", again.config_file, "--json", f"new.{APEX}"],
            capture_output=True, check=True, text=True,
        ).stdout
    )
    assert "secondary zone" in explained["hops"][0]["why"] and "serial 2" in explained["hops"][0]["why"]
    expect = again.config_file.with_name("expect.toml")
    expected = f'[[expect]]\nquery = "new.{APEX}"\nanswer = "192.0.2.3"\n'
    expect.write_text(f'{text}[upstream]\nservers = []\n{expected}')
    checked = subprocess.run([binary(), "--config", expect, "check"], capture_output=True, check=False, text=True)
    assert checked.returncode == 0 and "1 of 1 expectations met" in checked.stdout, checked
    expect.write_text(expect.read_text().replace(f'"{state}"', f'"{tmp_path}"'))
    checked = subprocess.run([binary(), "--config", expect, "check"], capture_output=True, check=False, text=True)
    assert checked.returncode == 1 and f"secondary zone {APEX} has no saved copy" in checked.stderr, checked
    server_of_zone.start()
    server_of_zone.publish(FIRST)
    serves(again, "old", "192.0.2.2", patience=40)
    assert transfers(again, "full") == 0, "the saved copy is what the changes were asked for"


def test_a_copy_expires(start, primary, tmp_path):
    state, port = tmp_path / "state", free_port(HOST)
    state.mkdir()
    server_of_zone = primary("knot", port, timers=(1, 1, 4))
    text = config([server_of_zone], state=state)
    server = start(text, listen=(f"{HOST}:{port}",))
    serves(server, "www", "192.0.2.1")
    until(lambda: transfers(server, "current") >= 2, "the timers count")
    server_of_zone.kill()
    until(lambda: server.ask(f"www.{APEX}").rcode == "SERVFAIL", "it expires", 15)
    assert server.ask(f"www.{APEX}").ede == [24]
    assert metrics.total(server, "pvtzd_secondary_up") == 0
    server.stop()
    again = start(text, listen=(f"{HOST}:{port}",))
    assert again.ask(f"www.{APEX}").rcode == "SERVFAIL", "a restart does not make it good"
    server_of_zone.start()
    serves(again, "www", "192.0.2.1")


def test_the_next_primary_is_asked_and_the_zone_is_of_its_vpc(start, primary):
    port = free_port(HOST)
    server_of_zone = primary("bind", port)
    vpcs = '[[vpc]]\nid = "vpc-a"\nclients = ["127.1.0.0/16"]\n'
    text = config([f"{HOST}:{free_port(HOST)}", server_of_zone], more='vpcs = ["vpc-a"]\n')
    server = start(text + vpcs, listen=(f"0.0.0.0:{port}",))
    server.where = (HOST, port)
    until(lambda: server.ask(f"www.{APEX}", source="127.1.0.5").values == ["192.0.2.1"], "the VPC sees it")
    assert server.ask(f"www.{APEX}", source="127.2.0.5").rcode == "SERVFAIL"  # there is no upstream


def notify(server, zone=APEX, key=None, source="127.0.0.1", keyring=None, tcp=False):
    message = dns.message.make_query(zone, dns.rdatatype.SOA)
    message.flags = 0x0400
    message.set_opcode(dns.opcode.NOTIFY)
    if key:
        ring = dns.tsigkeyring.from_text({key.name: (f"{key.algorithm}.", key.secret)})
        message.use_tsig(ring, keyname=f"{key.name}.", algorithm=f"{key.algorithm}.")
    ask = dns.query.tcp if tcp else dns.query.udp
    return dns.rcode.to_text(ask(message, server.where[0], port=server.port, source=source, timeout=5).rcode())


@pytest.mark.parametrize("tcp", [False, True])
def test_notify_is_taken_from_primaries_only(start, primary, tcp):
    port, key = free_port(HOST), Key()
    server_of_zone = primary("knot", port, key=key)
    server = start(config([server_of_zone], key), listen=(f"0.0.0.0:{port}",))
    server.where = (HOST, port)
    serves(server, "www", "192.0.2.1")
    assert notify(server, tcp=tcp) == "NOERROR"
    assert notify(server, source="127.0.0.7", tcp=tcp) == "REFUSED"
    assert notify(server, source="127.0.0.7", key=key, tcp=tcp) == "NOERROR"
    assert notify(server, zone="other.test", tcp=tcp) == "NOTAUTH"
    with pytest.raises(dns.tsig.PeerBadSignature):
        notify(server, key=Key(secret="b3RoZXItc2VjcmV0LW9mLXRoaXJ0eS10d28tb2N0ZXRzIQ=="), tcp=tcp)
    with pytest.raises(dns.tsig.PeerBadKey):
        notify(server, key=Key(name="other.test"), tcp=tcp)
    assert metrics.total(server, "pvtzd_secondary_notifies_total", result="refused") == 4


def test_without_secondary_zones_there_is_no_notify(start):
    server = start()
    assert notify(server) == "NOTIMP"


@contextlib.contextmanager
def resetting(connection):
    """A connection that is reset where the script says so."""
    try:
        yield
    except ConnectionResetError:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass


class Liar:
    """A primary that answers SOA, AXFR and IXFR as it is told: `script(kind) -> [records of a message, …]`."""

    def __init__(self, script):
        self.script, self.asked = script, []
        self.socket = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection):
        with connection, contextlib.suppress(struct.error, dns.exception.DNSException), resetting(connection):
            stream = connection.makefile("rb")
            while True:
                (length,) = struct.unpack("!H", stream.read(2))
                query = dns.message.from_wire(stream.read(length))
                kind = dns.rdatatype.to_text(query.question[0].rdtype)
                self.asked.append(kind)
                for records in self.script(kind):
                    reply = dns.message.make_response(query)
                    reply.flags |= dns.flags.AA
                    for line in records:
                        name, ttl, rtype, value = line.split(" ", 3)
                        rrset = dns.rrset.from_text(name, int(ttl), "IN", rtype, value)
                        reply.answer.append(rrset)
                    octets = reply.to_wire()
                    connection.sendall(struct.pack("!H", len(octets)) + octets)

    def close(self):
        self.socket.close()


def soa(serial):
    return f"{APEX}. 300 SOA ns.lab. host.lab. {serial} 1 1 3600 30"


def a(name, last):
    return f"{name}. 60 A 192.0.2.{last}"


GOOD = [soa(5), a(f"www.{APEX}", 1), soa(5)]
LIES = {
    "no SOA at the end": [[soa(6), a(f"www.{APEX}", 66)]],
    "another SOA at the end": [[soa(6), a(f"www.{APEX}", 66), soa(7)]],
    "no SOA at the start": [[a(f"www.{APEX}", 66), soa(6)]],
    "records behind the end": [[soa(6), a(f"www.{APEX}", 66), soa(6), a(f"x.{APEX}", 1)]],
    "an older serial": [[soa(4), a(f"www.{APEX}", 66), soa(4)]],
    "nothing": [],
}


@pytest.fixture
def liar():
    made = []

    def make(script):
        made.append(Liar(script))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("lie", LIES)
def test_a_primary_that_lies_leaves_the_copy_as_it_was(start, liar, lie):
    lying = []

    def script(kind):
        if kind == "SOA":
            return [[soa(6 if lying else 5)]]
        return LIES[lie] if lying else [GOOD]

    server_of_zone = liar(script)
    server = start(config([server_of_zone]))
    serves(server, "www", "192.0.2.1")
    lying.append(True)
    if lie not in ("no SOA at the end", "nothing"):  # where the rest is waited for
        server.logged("no primary has sent the secondary zone")
    else:
        until(lambda: "IXFR" in server_of_zone.asked, "it is asked")
    assert server.ask(f"www.{APEX}").values == ["192.0.2.1"]
    assert server.ask(f"x.{APEX}").rcode == "NXDOMAIN"


def test_a_serial_that_goes_back_is_not_followed(start, liar):
    back = []
    server_of_zone = liar(lambda kind: [[soa(3 if back else 5)]] if kind == "SOA" else [GOOD])
    server = start(config([server_of_zone]))
    serves(server, "www", "192.0.2.1")
    back.append(True)
    server.logged("its serial 3 is older")
    assert server.ask(f"www.{APEX}").values == ["192.0.2.1"]


def test_a_copy_that_has_expired_gives_way_to_an_older_serial(start, liar):
    """Otherwise a primary that was set up anew with lower serials would never be followed again."""
    back = []
    timers = lambda line: line.replace(" 1 1 3600 30", " 1 1 3 30")  # noqa: E731

    def script(kind):
        if kind == "SOA":
            return [[timers(soa(3 if back else 5))]]
        return [[timers(soa(3)), a(f"www.{APEX}", 2), timers(soa(3))] if back else list(map(timers, GOOD))]

    server_of_zone = liar(script)
    server = start(config([server_of_zone]))
    serves(server, "www", "192.0.2.1")
    back.append(True)
    server.logged("its serial 3 is older")
    server.logged("it has expired")
    serves(server, "www", "192.0.2.2")
    assert server_of_zone.asked.count("AXFR") == 2 and "IXFR" not in server_of_zone.asked


def test_a_primary_that_resets_an_incremental_transfer_sends_the_whole_zone(start, liar):
    new = []

    def script(kind):
        if kind == "IXFR":
            raise ConnectionResetError
        return [[soa(6 if new else 5)]] if kind == "SOA" else [[soa(6), a(f"www.{APEX}", 2), soa(6)] if new else GOOD]

    server_of_zone = liar(script)
    server = start(config([server_of_zone]))
    serves(server, "www", "192.0.2.1")
    new.append(True)
    serves(server, "www", "192.0.2.2")
    assert "IXFR" in server_of_zone.asked


def test_changes_that_do_not_fit_have_the_whole_zone_asked_for(start, liar):
    new = []

    def script(kind):
        if kind == "SOA":
            return [[soa(6 if new else 5)]]
        if kind == "IXFR":  # deletes what is not there
            return [[soa(6), soa(5), a(f"gone.{APEX}", 7), soa(6), a(f"www.{APEX}", 66), soa(6)]]
        return [[soa(6), a(f"www.{APEX}", 2), soa(6)] if new else GOOD]

    server_of_zone = liar(script)
    server = start(config([server_of_zone]))
    serves(server, "www", "192.0.2.1")
    new.append(True)
    serves(server, "www", "192.0.2.2")
    assert server_of_zone.asked[:2] == ["SOA", "AXFR"] and "IXFR" in server_of_zone.asked
    assert (transfers(server, "full"), transfers(server, "incremental")) == (2, 0)


def test_records_outside_the_zone_are_never_served(start, liar, authority):
    records = [soa(5), a(f"www.{APEX}", 1), a("www.test", 66), a("bank.example", 66), soa(5)]
    server_of_zone = liar(lambda kind: [[soa(5)]] if kind == "SOA" else [records])
    server = start(config([server_of_zone]), upstream=[authority])
    serves(server, "www", "192.0.2.1")
    assert server.ask("www.test").values == ["192.0.2.80"]
    server.logged("records outside of the zone")


def test_a_zone_that_never_ends_is_bounded(start, liar):
    def script(kind):
        if kind == "SOA":
            return [[soa(5)]]
        return ([soa(5)] if n == 0 else [a(f"host-{n}.{APEX}", n % 256)] for n in range(10**9))

    server_of_zone = liar(script)
    server = start(config([server_of_zone], more='max_size = "1MiB"\n'))
    server.logged("larger than max_size", patience=60)
    assert server.ask(f"www.{APEX}").rcode == "SERVFAIL"
    before = server_of_zone.asked.count("AXFR")
    assert before >= 1
