"""Retained names: refreshed by themselves, kept while their upstream fails, and not taken away by a sudden denial."""

import json
import subprocess
import time

from harness import metrics
from harness.fake import address, nxdomain, silent, soa
from harness.process import binary
from harness.wait import until

CACHE = '[cache]\nserve_stale = "off"\nstale_answer_after = "200ms"\n'


def config(more, cache=CACHE):
    return f"{metrics.OPS}{cache}[[retain]]\n{more}\n"


def asked(upstream, name="api.test", rtype="A"):
    return sum(kind == rtype for _, _, kind in upstream.questions(name))


def test_a_listed_name_is_asked_for_and_refreshed_without_clients(start, fake):
    upstream = fake(address(ttl=5))
    server = start(config('names = ["api.test"]'), upstream=[upstream])
    until(lambda: asked(upstream) >= 3, "it is refreshed", 30)
    assert asked(upstream, rtype="AAAA") >= 1
    assert metrics.total(server, "pvtzd_retained_names") == 1
    assert metrics.total(server, "pvtzd_retained_refreshes_total") >= 1
    before = asked(upstream)
    assert server.ask("api.test").values == ["192.0.2.1"]
    assert asked(upstream) <= before + 1


def test_a_denial_is_believed_once_it_is_confirmed(start, fake):
    upstream = fake(address(ttl=1))
    server = start(config('names = ["api.test"]\nconfirm = "4s"'), upstream=[upstream])
    until(lambda: server.ask("api.test").values == ["192.0.2.1"], "it is there")
    until(lambda: metrics.total(server, "pvtzd_retained_names") == 1, "it is retained")
    upstream.script = nxdomain(ttl=1, minimum=1)
    begun = time.monotonic()
    until(lambda: metrics.total(server, "pvtzd_retained_denials_total", result="held") >= 1, "it is held back")
    assert server.ask("api.test").values == ["192.0.2.1"]
    assert server.ask("other.test").rcode == "NXDOMAIN", "others are denied at once"
    until(lambda: server.ask("api.test").rcode == "NXDOMAIN", "it is confirmed", 20)
    assert time.monotonic() - begun > 3
    assert metrics.total(server, "pvtzd_retained_denials_total", result="confirmed") == 1
    upstream.script = address(ttl=60)
    until(lambda: server.ask("api.test").values == ["192.0.2.1"], "it is back")


def test_nodata_is_held_back_too_and_a_short_one_is_never_seen(start, fake):
    upstream = fake(address(ttl=1))
    server = start(config('names = ["api.test"]\nconfirm = "1h"'), upstream=[upstream])
    until(lambda: server.ask("api.test").values == ["192.0.2.1"], "it is there")
    until(lambda: metrics.total(server, "pvtzd_retained_names") == 1, "it is retained")
    upstream.script = lambda it: it.response(authority=[soa(1, 1)])
    until(lambda: metrics.total(server, "pvtzd_retained_denials_total", result="held") >= 1, "it is held back")
    for _ in range(20):
        assert server.ask("api.test").values == ["192.0.2.1"]
    upstream.script = address("192.0.2.2", ttl=60)
    until(lambda: server.ask("api.test").values == ["192.0.2.2"], "the next good answer counts", 40)


def test_the_last_good_answer_stays_while_the_upstream_fails(start, fake):
    upstream = fake(address(ttl=1))
    server = start(config('suffixes = ["test"]'), upstream=[upstream])
    assert server.ask("api.test").values == ["192.0.2.1"]
    for script in (silent, lambda it: it.response(rcode="SERVFAIL"), lambda it: it.response(rcode="REFUSED")):
        upstream.script = script
        until(lambda: 3 in server.ask("api.test").ede, "it is served although it has expired")
        assert server.ask("api.test").values == ["192.0.2.1"]
    assert server.ask("never.seen").rcode == "SERVFAIL"
    assert metrics.total(server, "pvtzd_retained_served_total") >= 3
    upstream.script = address("192.0.2.2")
    until(lambda: server.ask("api.test").values == ["192.0.2.2"], "the next good answer counts", 40)


def test_it_survives_a_flood_and_a_restart(start, fake, tmp_path):
    upstream, state = fake(address(ttl=1)), tmp_path / "state"
    state.mkdir()
    cache = '[cache]\nsize = "64KiB"\nstale_answer_after = "200ms"\n'
    text = f'[server]\nstate_dir = "{state}"\n' + config('names = ["api.test"]', cache)
    server = start(text, upstream=[upstream])
    until(lambda: server.ask("api.test").values == ["192.0.2.1"], "it is there")
    for number in range(1500):
        server.ask(f"n{number}.flood")
    upstream.script = silent
    until(lambda: 3 in server.ask("api.test").ede, "it is served although it has expired")
    assert server.ask("api.test").values == ["192.0.2.1"]
    assert server.stop() == 0
    again = start(text, upstream=[upstream])
    assert again.ask("api.test").values == ["192.0.2.1"], "after a restart too"


def test_a_flood_below_a_suffix_causes_no_queries_of_ours(start, fake):
    upstream = fake(address(ttl=1))
    server = start(config('suffixes = ["test"]\nmax_names = 50'), upstream=[upstream])
    for number in range(500):
        assert server.ask(f"n{number}.test").values == ["192.0.2.1"]
    assert metrics.total(server, "pvtzd_retained_names") == 50
    before = len(upstream.log)
    until(lambda: metrics.total(server, "process_start_time_seconds") < time.time() - 8, "they are due", 20)
    assert len(upstream.log) - before <= 60, "each of the retained ones once at most"


def test_it_is_explained_and_shown(start, fake, tmp_path):
    upstream, socket = fake(address()), tmp_path / "socket"
    text = config('suffixes = ["api.test"]\nconfirm = "1m"').replace('socket = "off"', f'socket = "{socket}"')
    server = start(text, upstream=[upstream])
    assert server.ask("www.api.test").values == ["192.0.2.1"]

    def run(*words):
        command = [binary(), words[0], "--config", server.config_file, *words[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "retained by suffix api.test: a denial is believed after 60 s" in run("explain", "www.api.test")
    assert "retained" not in run("explain", "www.other.test")
    status = json.loads(run("status", "--json"))
    assert status["retained"]["names"] == 1 and status["retained"]["denied"] == []
    assert "retained   1 names" in run("status")
    run("flush", "www.api.test")
    assert json.loads(run("status", "--json"))["retained"]["names"] == 0
