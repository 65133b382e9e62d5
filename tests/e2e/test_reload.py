"""Reload by SIGHUP: what changes, what stays, and what nobody may notice."""

import os
import signal
import threading
import time

from harness.ask import connection, frame, query, receive
from harness.process import free_port
from harness.wait import until


def zone(address):
    return f"""
[[zone]]
name = "p.example"
[[zone.record]]
name = "www"
type = "A"
value = "{address}"
"""


NOTHING_ASKED = "\n[upstream]\nservers = []\n"


def test_a_change_counts_from_the_very_next_answer(start):
    server = start(zone("10.0.0.1"))
    for number in range(2, 5):
        assert server.ask("www.p.example").values == [f"10.0.0.{number - 1}"]
        server.reload(zone(f"10.0.0.{number}") + NOTHING_ASKED)
        assert server.ask("www.p.example").values == [f"10.0.0.{number}"]
    server.reload(NOTHING_ASKED)
    assert server.ask("www.p.example").rcode == "SERVFAIL", "the zone is gone"


def test_answers_composed_under_the_old_configuration_die_with_it(start, fake):
    upstream = fake()
    server = start("", upstream=[upstream])
    assert server.ask("www.p.example").values == ["192.0.2.1"]
    server.reload(f'{zone("10.0.0.1")}[upstream]\nservers = ["{upstream.address}"]\n')
    assert server.ask("www.p.example").values == ["10.0.0.1"], "private now, whatever the cache has"
    server.reload(f'[upstream]\nservers = ["{upstream.address}"]\n')
    assert server.ask("www.p.example").values == ["192.0.2.1"]
    assert upstream.count() == 1, "and the cache was left alone"


def test_a_broken_configuration_changes_nothing_and_every_fault_is_told(start):
    server = start(zone("10.0.0.1"))
    before = len(server.lines)
    broken = zone("10.0.0.2") + '[server]\nlistn = []\n[cache]\nsize = "huge"\n[upstream]\nservers = ["nonsense"]\n'
    server.config_file.write_text(broken)
    server.send(signal.SIGHUP)
    server.logged(r"ERROR.*the former one stays in force", after=before)
    told = "\n".join(server.lines[before:])
    for word in ("listn", "huge", "nonsense", "faults=3", server.config_file.name):
        assert word in told, told
    assert server.ask("www.p.example").values == ["10.0.0.1"]
    server.reload(zone("10.0.0.3") + NOTHING_ASKED)
    assert server.ask("www.p.example").values == ["10.0.0.3"]


def test_a_configuration_that_cannot_be_read_changes_nothing(start):
    server = start(zone("10.0.0.1"))
    server.config_file.unlink()
    before = len(server.lines)
    server.send(signal.SIGHUP)
    server.logged(r"cannot read the configuration; the former one stays", after=before)
    assert server.ask("www.p.example").values == ["10.0.0.1"]


def test_upstreams_allow_list_and_rules_change_too(start, fake):
    first, second = fake(lambda a: a.response("@ 60 IN A 192.0.2.1")), fake(lambda a: a.response("@ 60 IN A 192.0.2.2"))
    server = start(upstream=[first])
    assert server.ask("a.test").values == ["192.0.2.1"]
    server.reload(f'[upstream]\nservers = ["{second.address}"]\n')
    assert server.ask("b.test").values == ["192.0.2.2"]
    text = f'[[forward]]\nzone = "corp.test"\nservers = ["{first.address}"]\n[upstream]\nservers = ["{second.address}"]\n'
    server.reload(text)
    assert server.ask("x.corp.test").values == ["192.0.2.1"]
    server.reload(f'[server]\nallow = ["127.0.0.99"]\n{text}')
    assert server.ask("a.test").rcode == "REFUSED"
    assert server.ask("a.test", source="127.0.0.99").rcode == "NOERROR"


def test_connections_queries_in_flight_and_the_cache_are_left_alone(start, fake):
    gate = threading.Event()

    def script(asked):
        if asked.name == "slow.test":
            gate.wait(10)
        return asked.response("@ 600 IN A 192.0.2.1")

    upstream = fake(script)
    server = start(zone("10.0.0.1"), upstream=[upstream])
    assert server.ask("cached.test").values
    with connection(server.where) as sock:
        sock.sendall(frame(query("slow.test").to_wire()))
        until(lambda: upstream.count("slow.test"), "the query is under way")
        server.reload(f'{zone("10.0.0.2")}[upstream]\nservers = ["{upstream.address}"]\n')
        sock.sendall(frame(query("www.p.example").to_wire()))
        assert receive(sock).values == ["10.0.0.2"], "the connection lives on"
        gate.set()
        assert receive(sock).values == ["192.0.2.1"], "the query was not lost"
    assert server.ask("cached.test").values and upstream.count("cached.test") == 1


def test_every_warning_is_told_as_at_start(start):
    records = "".join(
        f'[[zone.record]]\nname = "n{n}"\ntype = "A"\nvalue = "10.0.0.1"\nttl = {61 + n}\n' for n in range(9)
    )
    text = f'[[zone]]\nname = "p.example"\n{records}'
    server = start(text)
    assert server.log.count("does not accept a TTL") == 9
    server.reload(text + NOTHING_ASKED)
    assert server.log.count("does not accept a TTL") == 18


def test_what_needs_a_restart_is_said(start):
    server = start(zone("10.0.0.1"))
    before = len(server.lines)
    server.reload(f'[server]\nlisten = ["127.0.0.1:{free_port()}"]\ntcp_idle = "20s"\n{zone("10.0.0.1")}{NOTHING_ASKED}')
    told = "\n".join(server.lines[before:])
    assert 'key="server.tcp_idle"' in told and "next start" in told


def generation(number, upstream):
    """Two zones that belong together: the name in one leads to a name that only its own generation has."""
    return f"""
[[zone]]
name = "one.example"
[[zone.record]]
name = "www"
type = "CNAME"
value = "t{number}.two.example"
[[zone.record]]
name = "serial"
type = "TXT"
value = "{number}"
[[zone]]
name = "two.example"
[[zone.record]]
name = "t{number}"
type = "A"
value = "10.{number // 65536}.{number // 256 % 256}.{number % 256}"
[upstream]
servers = ["{upstream.address}"]
"""


class Client(threading.Thread):
    """Asks without pause until told to stop, and keeps what was wrong."""

    def __init__(self, server, number, over):
        super().__init__(daemon=True)
        self.server, self.number, self.over = server, number, over
        self.asked, self.wrong = 0, []

    def run(self):
        while not self.over.is_set() and self.asked < 200_000:
            self.asked += 1
            if self.number == 0:
                self.expect(f"n{self.asked}.test", lambda answer: answer.values == ["192.0.2.1"])
            else:
                self.expect("www.one.example", self.is_whole, tcp=self.number == 1)

    def expect(self, name, is_good, **kind):
        try:
            answer = self.server.ask(name, **kind)
        except Exception as error:
            self.wrong.append(f"{name}: {error!r}")
            return
        if not is_good(answer):
            self.wrong.append(f"{name}: {answer}")

    @staticmethod
    def is_whole(answer):
        if answer.rcode != "NOERROR" or len(answer.values) != 2:
            return False
        target, address = answer.values
        number = int(target.split(".")[0][1:])
        return address == f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"


def test_a_thousand_reloads_under_load_lose_nothing_and_mix_nothing(start, fake, tmp_path):
    upstream = fake()
    server = start("")
    beside = tmp_path / "next"

    def load(number):
        beside.write_text(generation(number, upstream))
        os.replace(beside, server.config_file)
        server.send(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while server.ask("serial.one.example", "TXT").values != [f'"{number}"']:
            assert time.monotonic() < deadline, f"generation {number} does not come"

    load(1)
    over = threading.Event()
    clients = [Client(server, number, over) for number in range(4)]
    for client in clients:
        client.start()
    for number in range(2, 1002):
        load(number)
    over.set()
    for client in clients:
        client.join(10)
        assert client.wrong == [], client.wrong[:5]
        assert client.asked > 100
    assert server.file_descriptors() < 100


def test_sigterm_lets_queries_in_flight_end(start, fake):
    gate = threading.Event()

    def script(asked):
        gate.wait(10)
        return asked.response("@ 60 IN A 192.0.2.1")

    upstream = fake(script)
    server = start(upstream=[upstream])
    with connection(server.where) as sock:
        sock.sendall(frame(query("slow.test").to_wire()))
        until(lambda: upstream.count("slow.test"), "the query is under way")
        server.send(signal.SIGTERM)
        server.logged(r"stopping in_flight=1|stopping.*in_flight=1")
        gate.set()
        assert receive(sock).values == ["192.0.2.1"]
    assert server.wait() == 0


def upstreams(fake):
    """Two servers that give different addresses for every name, for ten minutes."""
    return [fake(lambda a, n=n: a.response(f"@ 600 IN A 192.0.2.{n}")) for n in (1, 2)]


def listed(*servers, more=""):
    addresses = ", ".join(f'"{server.address}"' for server in servers)
    return f"[upstream]\nservers = [{addresses}]\n{more}"


def test_other_upstreams_are_asked_and_the_same_ones_keep_their_answers(start, fake):
    first, second = upstreams(fake)
    server = start(upstream=[first])
    for _ in range(3):
        assert server.ask("www.test").values == ["192.0.2.1"]
    server.reload(listed(second))
    for _ in range(3):
        assert server.ask("www.test").values == ["192.0.2.2"], "an answer belongs to the servers that gave it"
    server.reload(listed(first))
    assert server.ask("www.test").values == ["192.0.2.1"]
    server.reload(listed(first, second))
    both = server.ask("www.test").values
    server.reload(listed(second, first, more='strategy = "parallel"\n'))
    assert server.ask("www.test").values == both, "the order and the strategy are how, not who"
    assert first.count() + second.count() == 3


def test_a_rule_s_other_upstreams_are_asked(start, fake):
    first, second = upstreams(fake)

    def rule(server):
        return f'[[forward]]\nzone = "corp.test"\nservers = ["{server.address}"]\n'

    server = start(rule(first))
    assert server.ask("www.corp.test").values == ["192.0.2.1"]
    server.reload(rule(second) + NOTHING_ASKED)
    assert server.ask("www.corp.test").values == ["192.0.2.2"]


def test_stale_answers_and_denials_belong_to_their_servers_too(start, fake):
    first = fake(lambda a: a.response("@ 1 IN A 192.0.2.1") if a.name == "old.test" else a.response(rcode="SERVFAIL"))
    second = fake(lambda a: a.response(rcode="SERVFAIL") if a.name == "old.test" else a.response("@ 60 IN A 192.0.2.2"))
    server = start(upstream=[first])
    assert server.ask("old.test").values == ["192.0.2.1"]
    assert server.ask("fails.test").rcode == "SERVFAIL"
    server.reload(listed(second))
    assert server.ask("old.test").rcode == "SERVFAIL", "another server's stale answer is no answer"
    assert server.ask("fails.test").values == ["192.0.2.2"], "another server's failure is no failure"
