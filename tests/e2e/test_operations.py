"""What an operator sees, by the tools that operators use: promtool, a dnstap receiver."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from harness.ask import ask
from harness.fake import address
from harness.private import ZONE
from harness.process import ROOT, Process
from harness.wait import until

OPS = """
[ops]
listen = "127.0.0.1:0"
socket = "off"
"""


def promtool():
    """promtool of $PATH, or the one that tests/run unpacked."""
    found = shutil.which("promtool") or os.environ.get("PROMTOOL", "")
    if not found or not Path(found).exists():
        pytest.skip("no promtool (Debian's package prometheus)")
    return found


def observed(start, text="", **options):
    """A server and the address of its metrics."""
    server = start(OPS + text, **options)
    return server, server.logged(r"metrics and health are served listen=(\S+)").group(1)


def fetch(where, path):
    with urllib.request.urlopen(f"http://{where}{path}", timeout=10) as response:
        return response.headers["content-type"], response.read().decode()


def test_a_scrape_passes_promtool(start, fake):
    upstream = fake(address())
    server, where = observed(start, ZONE, upstream=[upstream])
    for name in ("www.p.example", "none.p.example", "www.test", "www.test"):
        server.ask(name)
        server.ask(name, tcp=True)
    kind, page = fetch(where, "/metrics")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    checked = subprocess.run([promtool(), "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, ""), checked.stdout + checked.stderr


def test_the_alert_rules_pass_promtool():
    rules = ROOT / "packaging" / "prometheus" / "alerts.yml"
    checked = subprocess.run([promtool(), "check", "rules", rules], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def metrics_of(text):
    names = set(re.findall(r"\b(?:pvtzd|process)_[a-z_]+", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_dashboard_and_rules_name_metrics_that_exist(start):
    documented = metrics_of((ROOT / "docs" / "metrics.md").read_text())
    dashboard = json.loads((ROOT / "packaging" / "grafana" / "pvtzd.json").read_text())
    expressions = "\n".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    rules = (ROOT / "packaging" / "prometheus" / "alerts.yml").read_text()
    named = metrics_of(expressions) | metrics_of("\n".join(re.findall(r"expr:(.*?)\n\s+(?:for|labels):", rules, re.S)))
    assert len(named) > 20
    assert named <= documented, named - documented


def frames(octets):
    """The data frames of a file in Frame Streams."""
    at = 0
    while at < len(octets):
        (length,) = struct.unpack_from(">I", octets, at)
        at += 4
        if length == 0:  # a control frame follows
            (length,) = struct.unpack_from(">I", octets, at)
            at += 4 + length
            continue
        yield octets[at : at + length]
        at += length


def decoded(frame):
    """A message as protoc reads it: `field: value` by field."""
    folder = Path(__file__).parent / "data"
    command = ["protoc", f"-I{folder}", "--decode=dnstap.Dnstap", folder / "dnstap.proto"]
    text = subprocess.run(command, input=frame, capture_output=True, check=True).stdout.decode()
    assert not re.search(r"^\s*\d+:", text, re.M), f"fields that the schema does not have:\n{text}"
    return dict(re.findall(r"^\s*(\w+): (.*)$", text, re.M))


def test_dnstap_is_read_by_a_real_receiver(start, fake, tmp_path):
    for program in ("fstrm_capture", "protoc"):
        if not shutil.which(program):
            pytest.skip(f"no {program}")
    socket, file = tmp_path / "tap.sock", tmp_path / "tap.fstrm"
    capture = ["fstrm_capture", "-t", "protobuf:dnstap.Dnstap", "-u", socket, "-w", file]
    receiver = Process(capture)
    try:
        until(socket.exists, "the receiver's socket")
        upstream = fake(address())
        tap = f'[log]\ndnstap = "{socket}"\nidentity = "sidecar-1"\n'
        server = start(OPS + tap + ZONE, upstream=[upstream])
        server.logged("connected to the receiver")
        for _ in range(2):
            assert server.ask("www.p.example").values == ["10.0.0.1"]
            assert server.ask("www.test", tcp=True).rcode == "NOERROR"
        assert server.stop() == 0
        receiver.send(signal.SIGTERM)
        receiver.wait()
    finally:
        receiver.kill()
    messages = [decoded(frame) for frame in frames(file.read_bytes())]
    assert [message["type"] for message in messages].count("MESSAGE") == 8  # the outer type comes last
    asked = [message for message in messages if "query_message" in message]
    answered = [message for message in messages if "response_message" in message]
    assert (len(asked), len(answered)) == (4, 4)
    for message in messages:
        assert message["identity"] == '"sidecar-1"'
        assert message["version"].startswith('"pvtzd ')
        assert message["query_address"] == r'"\177\000\000\001"'
        assert message["response_port"] == str(server.port)
        assert abs(int(message["query_time_sec"]) - time.time()) < 60
    assert sorted(message["socket_protocol"] for message in asked) == ["TCP", "TCP", "UDP", "UDP"]
    assert all("example" in message["response_message"] or "test" in message["response_message"] for message in answered)


def test_dnstap_without_a_receiver_holds_up_nothing(start, tmp_path):
    tap = f'[log]\ndnstap = "{tmp_path}/none.sock"\n'
    server, where = observed(start, tap + ZONE)
    server.logged("dnstap: no receiver")
    for _ in range(50):
        assert ask(server.where, "www.p.example").values == ["10.0.0.1"]

    def missed():
        found = re.search(r'pvtzd_watch_dropped_total\{watcher="dnstap"\} (\d+)', fetch(where, "/metrics")[1])
        return found and int(found.group(1)) == 100

    until(missed, "100 missed messages")
    assert server.stop() == 0
