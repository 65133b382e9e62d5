"""`pvtzd top`: what is asked most."""

import json
import os
import subprocess

import pytest
from harness.process import binary
from harness.wait import until

CONFIG = """
[[zone]]
name = "p.example"
[[zone.record]]
name = "*"
type = "A"
value = "10.0.0.1"
"""


@pytest.fixture
def served(start, tmp_path):
    """Starts a server with a control socket: `served("[top]…")`."""
    socket = tmp_path / "pvtzd.sock"

    def begin(text=""):
        server = start(f'{CONFIG}\n{text}\n[ops]\nsocket = "{socket}"\n')
        server.socket = socket
        return server

    return begin


def top(server, *words):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PVTZD")}
    command = [binary(), "top", "--socket", server.socket, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment, check=True)
    return json.loads(done.stdout) if "--json" in words else done.stdout


def rows(ranking):
    return {row["key"]: row["count"] for row in ranking["rows"]}


def ask_all(server):
    for number in range(20):
        for _ in range(5 if number < 2 else 1):
            server.ask(f"N{number}.p.example")
    server.ask("none.test", "TXT")
    server.ask("n0.p.example", tcp=True)


@pytest.mark.parametrize("client", ["full", "prefix", "none"])
def test_the_lists_count_what_is_asked(served, client):
    server = served(f'[top]\nenabled = true\nclient = "{client}"')
    ask_all(server)
    found = until(lambda: (seen := top(server, "--json", "-n", "100"))["answers"] >= 30 and seen, "the lists have all")
    names = rows(found["names"])
    assert found["answers"] == 30
    assert (names["n0.p.example"], names["n1.p.example"], names["n7.p.example"]) == (6, 5, 1)
    assert rows(found["types"]) == {"A": 29, "TXT": 1}
    assert rows(found["zones"]) == {"zone p.example in vpc-local": 29, "upstream and special names": 1}
    assert rows(found["codes"])["NOERROR"] == 29
    expected = {"full": {"127.0.0.1": 30}, "prefix": {"127.0.0.0": 30}, "none": {}}[client]
    assert rows(found["clients"]) == expected
    page = top(server, "names", "-n", "1")
    assert page.splitlines()[2].split() == ["NAME", "ANSWERS", "A", "SECOND", "SHARE"]
    assert page.splitlines()[3].split()[:2] == ["n0.p.example", "6"]
    assert "127.0.0" not in page, "one list was asked for"
    assert top(server, "--clear", "--json", "--every", "0.1")["answers"] == 0


def test_they_count_while_they_are_read_and_no_longer(served):
    server = served()
    ask_all(server)
    assert top(server, "--once", "--json", "--every", "0.1")["answers"] == 0, "off until they are read"
    ask_all(server)
    assert top(server, "--json")["answers"] == 30


def test_a_flood_of_names_keeps_the_busy_ones_and_its_bound(served):
    server = served("[top]\nenabled = true")
    for number in range(3000):
        server.ask(f"x{number}.p.example")
        if number % 10 == 0:
            server.ask("busy.p.example")
    found = top(server, "--json", "-n", "100")
    assert found["names"]["rows"][0]["key"] == "busy.p.example"
    assert len(found["names"]["rows"]) == 100
    assert abs(found["answers"] - 3300) <= 3300 // 4, "a sample stands for what was left out"
