"""Floods of names that nobody asks twice: they cost neither those in demand nor more memory than there is.

`PVTZD_LONG_FLOOD=1` makes it a million names; without it they are 150,000.
"""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import servers
from harness.crowd import Crowd
from harness.fake import address, silent
from harness.load import Load
from harness.private import ZONE
from harness.wait import until

NAMES = 1_000_000 if os.environ.get("PVTZD_LONG_FLOOD") else 150_000
RATE = 15_000
IN_DEMAND = 1000  # names, each asked once a second
FLOOD = "100:%.flood.example:0:192.0.2.7"


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A server that has an answer for every name below flood.example."""
    server = servers.nsd(tmp_path_factory.mktemp("wide"), {"flood.example": "* 3600 IN A 192.0.2.7\n"})
    yield server
    server.kill()


def resident(server):
    """Octets of memory."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def in_demand(server):
    """A client that asks each of the names once a second."""
    return Load(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), server.where, IN_DEMAND, "192.0.2.1")


def warm(server, upstream):
    """Has every name in demand asked before the flood, and again."""
    names = [f"n{number}.one.example" for number in range(IN_DEMAND)]
    with ThreadPoolExecutor(8) as pool:
        assert all(answer.values == ["192.0.2.1"] for answer in pool.map(server.ask, names))
    with in_demand(server) as load:
        until(lambda: load.asked >= IN_DEMAND, "all are asked again")
    assert not load.wrong and not load.unanswered
    assert len(upstream.tally()) == IN_DEMAND
    return upstream.count()


def check(load, upstream, known):
    """Nobody in demand was asked for anew, and none went without its answer."""
    assert not load.wrong and not load.unanswered, (load.wrong, load.unanswered)
    assert upstream.count() == known, f"{upstream.count() - known} names in demand had been evicted"


def rule(upstream):
    return f'[[forward]]\nzone = "one.example"\nservers = ["{upstream.address}"]\n'


def test_a_flood_of_random_names_evicts_none_in_demand(start, fake, wide, program, note):
    upstream = fake(address(ttl=3600))
    server = start(rule(upstream), upstream=[wide])
    known, before = warm(server, upstream), resident(server)
    with in_demand(server) as load:
        with Crowd(program("pour"), server.where, FLOOD, rate=RATE, seconds=90, count=NAMES, window=500) as flood:
            pass
        until(lambda: load.asked > 5 * IN_DEMAND, "each was in demand for some seconds")
    result = flood.result
    note("flood", result)
    note("MiB", (before >> 20, resident(server) >> 20))
    check(load, upstream, known)
    assert result["answered"] > NAMES / 2 and not result["wrong"], result
    assert resident(server) - before < 64 << 20, "the cache is bounded by its 32 MiB"


def test_64_mebibytes_are_enough_under_a_flood(group, start, fake, wide, program, note):
    """First of names that exist, then of names whose server is silent, so that as many as may wait do."""
    limited, upstream, void = group(64 << 20), fake(address(ttl=3600)), fake(silent)
    text = rule(upstream) + f'[[forward]]\nzone = "void.example"\nservers = ["{void.address}"]\n' + ZONE
    server = start(text, upstream=[wide], prefix=limited.prefix)
    known = warm(server, upstream)
    with in_demand(server) as load:
        with Crowd(program("pour"), server.where, FLOOD, rate=RATE, seconds=6, window=500) as flood:
            pass
        kind = "100:%.void.example:0:ANY"
        with Crowd(program("pour"), server.where, kind, rate=5000, seconds=4, seed=2) as void_flood:
            pass
    note("flood", flood.result)
    note("void", void_flood.result)
    note("MiB", (limited.peak >> 20, resident(server) >> 20))
    check(load, upstream, known)
    assert server.is_alive and limited.kills == 0
    assert not flood.result["wrong"] and not void_flood.result["wrong"], (flood.result, void_flood.result)
    assert server.ask("www.p.example").values == ["10.0.0.1"]
