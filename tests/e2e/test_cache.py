"""The cache: lifetimes, denials, stale answers, prefetch, the snapshot over a restart."""

import socket
import time

import dns.message
import dns.rcode
import pytest
from harness.ask import query
from harness.fake import address, nxdomain, rcode, silent, soa
from harness.wait import until


def cache(**keys):
    return "[cache]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def test_an_answer_is_kept_and_its_ttl_counts_down(start, fake):
    upstream = fake(address(ttl=60))
    server = start(upstream=[upstream])
    assert server.ask("www.test").ttl == 60
    until(lambda: server.ask("www.test").ttl <= 58, "the TTL goes down")
    seen = [server.ask("www.test").ttl for _ in range(20)]
    assert seen == sorted(seen, reverse=True) and upstream.count() == 1


def test_an_expired_answer_is_asked_anew(start, fake):
    upstream = fake(address(ttl=1))
    server = start(upstream=[upstream])
    assert server.ask("www.test").ttl == 1
    until(lambda: (server.ask("www.test"), upstream.count() >= 3)[1], "asked again each second")


def test_forwarded_addresses_rotate_too(start, authority):
    server = start(upstream=[authority])
    assert len({server.ask("multi.test").values[0] for _ in range(12)}) == 3


def test_a_ttl_of_zero_is_not_kept(start, fake):
    upstream = fake(address(ttl=0))
    server = start(upstream=[upstream])
    for _ in range(3):
        assert server.ask("www.test").ttl == 0
    assert upstream.count() == 3


def test_a_ttl_of_zero_is_not_kept_over_tcp(start, fake):
    upstream = fake(address(ttl=0))
    server = start(upstream=[upstream])
    for _ in range(3):
        assert server.ask("www.test", tcp=True).ttl == 0
    assert upstream.count() == 3


def test_types_flags_and_groups_are_kept_apart(start, fake):
    upstream = fake()
    server = start(upstream=[upstream])
    for kind in ({}, {"do": True}, {"cd": True}):
        for _ in range(2):
            server.ask("www.test", **kind)
    assert server.ask("www.test", "AAAA").is_nodata
    assert upstream.count() == 4


@pytest.mark.parametrize(
    ("keys", "ttl", "expected"),
    [
        ({"max_ttl": 10}, 3600, 10),
        ({"min_ttl": 30}, 5, 30),
        ({}, 200_000, 86_400),
        ({}, 2**31 + 5, 0),  # RFC 2181 section 8
    ],
)
def test_ttls_are_brought_into_bounds(start, fake, keys, ttl, expected):
    server = start(cache(**keys), upstream=[fake(raw_ttl(ttl))])
    assert server.ask("www.test").ttl == expected


def raw_ttl(ttl):
    """An answer with any 32 bits as its TTL."""

    def script(asked):
        octets = bytearray(asked.response("@ 60 IN A 192.0.2.1").to_wire())
        at = octets.index(b"\0\x01\0\x01\0\0\0\x3c") + 4
        octets[at : at + 4] = ttl.to_bytes(4, "big")
        return bytes(octets)

    return script


@pytest.mark.parametrize("what", ["nxdomain", "nodata"])
def test_denials_are_kept_for_the_soa_s_minimum(start, fake, what):
    authority = [soa(ttl=300, minimum=40)]
    code = {"nxdomain": "NXDOMAIN", "nodata": "NOERROR"}[what]
    upstream = fake(lambda asked: asked.response(rcode=code, authority=authority))
    server = start(upstream=[upstream])
    for _ in range(3):
        answer = server.ask("gone.test")
        assert (answer.rcode, answer.records) == (code, [])
        assert answer.authority[0].startswith("test SOA ") and answer.negative_ttl <= 40
    assert upstream.count() == 1


def test_denials_are_kept_for_the_soa_s_ttl_where_that_is_lower_and_within_bounds(start, fake):
    low = start(upstream=[fake(nxdomain(ttl=7, minimum=600))])
    assert low.ask("gone.test").negative_ttl == 7
    bounded = start(cache(negative_max_ttl=20), upstream=[fake(nxdomain(ttl=3600, minimum=3600))])
    assert bounded.ask("gone.test").negative_ttl == 20


def test_denials_expire(start, fake):
    upstream = fake(nxdomain(ttl=1, minimum=1))
    server = start(upstream=[upstream])
    assert server.ask("soon.test").rcode == "NXDOMAIN"
    upstream.script = address()
    until(lambda: server.ask("soon.test").values == ["192.0.2.1"], "the name came into being")


def test_an_expired_answer_is_served_when_the_upstream_is_dead(start, fake):
    upstream = fake(address(ttl=1))
    server = start(cache(stale_answer_after='"200ms"'), upstream=[upstream])
    assert server.ask("www.test").ttl == 1
    upstream.stop()
    stale = until(lambda: (a := server.ask("www.test")).ede and a, "it has expired")
    assert (stale.rcode, stale.values, stale.ttl) == ("NOERROR", ["192.0.2.1"], 30)
    assert 3 in stale.ede, stale
    at_once = server.ask("www.test")
    assert at_once.values == ["192.0.2.1"] and at_once.elapsed < 1


def test_a_stale_answer_comes_before_the_client_gives_up_on_a_silent_upstream(start, fake):
    upstream = fake(address(ttl=1))
    server = start(upstream=[upstream])
    assert server.ask("www.test").ttl == 1
    upstream.script = silent
    stale = until(lambda: (a := server.ask("www.test")).ede and a, "it has expired")
    assert stale.values == ["192.0.2.1"] and stale.elapsed < 3


def test_stale_is_never_replaced_by_a_failure_and_goes_when_the_upstream_is_back(start, fake):
    upstream = fake(address(ttl=1))
    text = cache(stale_answer_after='"200ms"', stale_retry='"1s"')
    server = start(text, upstream=[upstream])
    assert server.ask("www.test").ttl == 1
    upstream.script = rcode("SERVFAIL")
    until(lambda: 3 in server.ask("www.test").ede, "it has expired")
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert server.ask("www.test").values == ["192.0.2.1"]
    upstream.script = address("192.0.2.9")
    until(lambda: server.ask("www.test").values == ["192.0.2.9"], "the new answer")


def test_stale_is_never_older_than_what_was_seen_since(start, fake):
    upstream = fake(address("192.0.2.1", ttl=1))
    server = start(cache(stale_answer_after='"100ms"'), upstream=[upstream])
    assert server.ask("www.test").ttl == 1
    upstream.script = address("192.0.2.2", ttl=0)
    until(lambda: server.ask("www.test").values == ["192.0.2.2"], "the new answer, not to be kept")
    upstream.stop()
    assert server.ask("www.test").rcode == "SERVFAIL"


def test_a_stale_denial_is_served_with_its_own_code(start, fake):
    upstream = fake(nxdomain(ttl=1, minimum=1))
    server = start(cache(stale_answer_after='"200ms"'), upstream=[upstream])
    assert server.ask("gone.test").rcode == "NXDOMAIN"
    upstream.stop()
    stale = until(lambda: (a := server.ask("gone.test")).ede and a, "it has expired")
    assert (stale.rcode, 19 in stale.ede) == ("NXDOMAIN", True), stale


def test_stale_answers_have_an_end_and_can_be_switched_off(start, fake):
    for setting in ('"1s"', '"off"'):
        upstream = fake(address(ttl=1))
        server = start(cache(serve_stale=setting, stale_answer_after='"100ms"'), upstream=[upstream])
        assert server.ask("www.test").ttl == 1
        upstream.stop()
        until(lambda server=server: server.ask("www.test").rcode == "SERVFAIL", "no answer any more")


def test_a_private_cname_over_an_expired_target_is_served_stale(start, fake):
    upstream = fake(address(ttl=1))
    server = start(cache(stale_answer_after='"200ms"'), upstream=[upstream])
    name = "ecs.cn-hangzhou.aliyuncs.com"
    assert server.ask(name).values[-1] == "192.0.2.1"
    upstream.stop()
    stale = until(lambda: (a := server.ask(name)).ede and a, "the target has expired")
    assert stale.rcode == "NOERROR"
    assert stale.values == ["popunify-vpc.cn-hangzhou.aliyuncs.com", "192.0.2.1"]


def test_a_name_in_demand_is_asked_shortly_before_it_expires(start, fake):
    upstream = fake(address(ttl=10))
    server = start(upstream=[upstream])
    lowest, deadline = 10, time.monotonic() + 30
    while upstream.count() < 2 and time.monotonic() < deadline:
        lowest = min(lowest, server.ask("hot.test").ttl)
        time.sleep(0.02)
    assert upstream.count() == 2 and lowest == 1, "asked while it still held"
    until(lambda: server.ask("hot.test").ttl >= 9, "the new answer has come")


def test_without_prefetch_it_is_asked_after_it_expired(start, fake):
    upstream = fake(address(ttl=2))
    server = start(cache(prefetch="false"), upstream=[upstream])
    server.ask("hot.test")
    until(lambda: (server.ask("hot.test"), upstream.count() == 2)[1], "asked anew")


def test_the_cache_survives_a_restart(start, fake, tmp_path):
    upstream = fake(address(ttl=3600))
    state = tmp_path / "state"
    first = start(upstream=[upstream], arguments=("--state-dir", state))
    answered = first.ask("www.test")
    assert first.ask("gone.test", "AAAA").is_nodata
    assert first.stop() == 0
    assert [file.name for file in state.iterdir()] == ["cache.snapshot"]
    asked = upstream.count()
    second = start(upstream=[upstream], arguments=("--state-dir", state))
    again = second.ask("www.test")
    assert again.values == answered.values and again.ttl <= 3600
    assert second.ask("gone.test", "AAAA").is_nodata
    assert upstream.count() == asked, "not asked again"


def test_state_is_kept_by_environment_and_by_configuration_too(start, fake, tmp_path):
    upstream = fake(address(ttl=3600))
    for number, options in enumerate(
        (
            {"env": {"STATE_DIRECTORY": str(tmp_path / "env")}},
            {"text": f'[server]\nstate_dir = "{tmp_path}/conf"\n'},
        )
    ):
        text = options.pop("text", "")
        for _ in range(2):
            server = start(text, upstream=[upstream], **options)
            assert server.ask(f"n{number}.test").values
            server.stop()
    assert upstream.count() == 2


def test_the_snapshot_is_of_the_servers_that_gave_it(start, fake, tmp_path):
    first, second = (fake(lambda a, n=n: a.response(f"@ 600 IN A 192.0.2.{n}")) for n in (1, 2))

    def found(upstream):
        server = start(upstream=upstream, arguments=("--state-dir", tmp_path / "state"))
        values = server.ask("www.test").values
        server.stop()
        return values

    assert found([first]) == ["192.0.2.1"]
    assert found([second]) == ["192.0.2.2"], "other servers are asked, whatever the former ones said"
    assert found([first]) == ["192.0.2.1"]
    assert (first.count(), second.count()) == (1, 1), "the same servers keep their answers"


def test_a_state_directory_that_cannot_be_had_is_a_warning(start, fake):
    server = start(upstream=[fake()], arguments=("--state-dir", "/dev/null/state"))
    assert "cannot create the state directory" in server.log
    assert server.ask("www.test").values == ["192.0.2.1"]
    assert server.stop() == 0
    assert "cannot save the cache" in server.log


def test_a_plain_run_leaves_nothing_behind(start, fake, tmp_path):
    server = start(upstream=[fake()])
    assert server.ask("www.test").values
    server.stop()
    assert [file.name for file in tmp_path.iterdir()] == ["pvtzd-0.toml"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_snapshot_is_ignored_with_a_warning(start, fake, tmp_path, damage):
    upstream = fake(address(ttl=3600))
    state = tmp_path / "state"
    first = start(upstream=[upstream], arguments=("--state-dir", state))
    assert first.ask("www.test").values
    first.stop()
    file = state / "cache.snapshot"
    octets = bytearray(file.read_bytes())
    if damage == "flipped":
        octets[len(octets) // 2] ^= 1
    damaged = {"cut": bytes(octets[:-5]), "flipped": bytes(octets), "empty": b"", "foreign": b"not ours" * 20}
    file.write_bytes(damaged[damage])
    second = start(upstream=[upstream], arguments=("--state-dir", state))
    second.logged(r"WARN.*the saved cache is ignored")
    assert second.ask("www.test").values == ["192.0.2.1"]
    assert upstream.count() == 2, "asked again"


def test_private_answers_are_not_in_the_snapshot(start, fake, tmp_path):
    text = """
        [[zone]]
        name = "secret.example"
        [[zone.record]]
        name = "vault"
        type = "CNAME"
        value = "www.test"
    """
    state = tmp_path / "state"
    server = start(text, upstream=[fake(address(ttl=3600))], arguments=("--state-dir", state))
    assert server.ask("vault.secret.example").values == ["www.test", "192.0.2.1"]
    server.stop()
    octets = (state / "cache.snapshot").read_bytes()
    assert b"www" in octets and b"vault" not in octets and b"secret" not in octets


def test_a_and_aaaa_of_a_denied_name_cost_one_question(start, fake):
    """Both at once, as glibc asks, and one after the other."""
    upstream = fake(nxdomain())
    server = start(upstream=[upstream])
    for number in range(20):
        name = f"gone{number}.test"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(6)
            sock.connect(("127.0.0.1", server.port))
            for rtype in ("A", "AAAA"):
                sock.send(query(name, rtype).to_wire())
            codes = [dns.message.from_wire(sock.recv(4096)).rcode() for _ in range(2)]
        assert codes == [dns.rcode.NXDOMAIN] * 2
        assert server.ask(name, "HTTPS").rcode == "NXDOMAIN"
        assert upstream.count(name) == 1, upstream.questions(name)


def test_a_and_aaaa_of_a_name_that_exists_are_both_answered(start, fake):
    def both(asked):
        return asked.response({"A": "@ 60 IN A 192.0.2.1", "AAAA": "@ 60 IN AAAA 2001:db8::1"}[asked.rtype])

    server = start(upstream=[fake(both)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(6)
        sock.connect(("127.0.0.1", server.port))
        for rtype in ("A", "AAAA"):
            sock.send(query("www.test", rtype).to_wire())
        answers = [dns.message.from_wire(sock.recv(4096)).answer[0][0].to_text() for _ in range(2)]
    assert sorted(answers) == ["192.0.2.1", "2001:db8::1"]
