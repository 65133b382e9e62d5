"""Encrypted DNS with other people's clients and servers: kdig, dnsperf, curl, dnspython, unbound."""

import re
import signal
import subprocess

import dns.edns
import dns.message
import dns.query
import pytest
from harness import api, servers
from harness.encrypted import listener, port
from harness.fake import address
from harness.http3 import requests
from harness.private import ZONE
from harness.process import binary, free_port


def kdig(port, ca, *words, name="www.p.example", host="dns.example"):
    command = ["kdig", "@127.0.0.1", "-p", port, f"+tls-hostname={host}", f"+tls-ca={ca}", *words, name, "A"]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False).stdout


def test_kdig_asks_over_tls_and_gets_padded_answers(start, certificate):
    files = certificate()
    server = start(listener(files, "tls") + ZONE)
    said = kdig(port(server, "TLS"), files[0], "+tls")
    assert "10.0.0.1" in said and "TLS1.3" in said
    assert re.search(r"Received 468 B", said), said
    assert "10.0.0.1" not in kdig(port(server, "TLS"), files[0], "+tls", host="other.example")


def test_a_renewed_certificate_counts_without_a_restart(start, certificate):
    files = certificate()
    server = start(listener(files, "tls") + ZONE)
    certificate("new.example")
    before = len(server.lines)
    server.send(signal.SIGHUP)
    server.logged("reloaded", after=before)
    assert "10.0.0.1" in kdig(port(server, "TLS"), files[0], "+tls", host="new.example")


def test_dnsperf_loses_nothing_over_tls(start, certificate, tmp_path):
    server = start(listener(certificate(), "tls") + ZONE)
    (tmp_path / "queries").write_text("www.p.example A\n")
    command = ["dnsperf", "-m", "dot", "-s", "127.0.0.1", "-p", str(port(server, "TLS"))]
    command += ["-d", tmp_path / "queries", "-n", "2000", "-c", "10"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"Queries lost:\s+0 ", said), said


def test_unbound_is_asked_over_tls(start, certificate, authority, fake, tmp_path):
    files = certificate()
    secure = free_port("127.0.53.2")
    extra = f"""
    interface: 127.0.53.2@{secure}
    tls-port: {secure}
    tls-service-pem: "{files[0]}"
    tls-service-key: "{files[1]}"
    local-zone: "u.example." redirect
    local-data: "u.example. 60 IN A 192.0.2.77"
"""
    resolver = servers.unbound(tmp_path / "unbound", authority, extra)
    trusting = {"SSL_CERT_FILE": str(files[0])}
    try:
        server = start(upstream=[f"tls://127.0.53.2:{secure}#dns.example"], env=trusting)
        for number in range(20):
            assert server.ask(f"h{number}.u.example").values == ["192.0.2.77"]
        # one whose certificate does not count is passed over
        other = start(upstream=[f"tls://127.0.53.2:{secure}#other.example", fake(address())], env=trusting)
        assert other.ask("h.u.example").rcode == "NOERROR"
        # a rule that is made through the API says so by the priorities of its targets
        made = start(api.control() + api.TWO_VPCS, upstream=[], env=trusting)
        caller, vpcs = api.Api(made), [{"VpcId": "vpc-one"}]
        nowhere = [{"Ip": "127.0.0.1", "Port": free_port()}]
        rule = caller.call("AddResolverRule", ZoneName="u.example", ForwardIp=nowhere, Vpcs=vpcs)["RuleId"]
        dot = {"Protocol": "DOT", "EnableStatus": "ENABLE", "Priority": 1}
        dot["CustomAddresses"] = [f"127.0.53.2:{secure}#dns.example"]
        caller.call("UpdateResolverRule", RuleId=rule, PriorityForwardConfigs=[dot])
        assert made.ask("h.u.example").values == ["192.0.2.77"]
    finally:
        resolver.kill()


def test_a_build_without_http3_says_so(tmp_path):
    text = '[server]\nlisten_http3 = ["127.0.0.1:0"]\n[upstream]\nservers = ["quic://192.0.2.1"]\n'
    (tmp_path / "pvtzd.toml").write_text(text)
    command = [binary(), "check", "--config", tmp_path / "pvtzd.toml"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 78
    assert ("this build has no HTTP/3" in done.stderr) != ("need a certificate" in done.stderr), done.stderr


def test_kdig_and_curl_ask_over_https(start, certificate):
    files = certificate()
    server = start(listener(files, "https") + ZONE)
    where = port(server, "HTTPS")
    for words in (["+https"], ["+https-get"]):
        said = kdig(where, files[0], *words)
        assert "10.0.0.1" in said and "status: 200" in said, said
    url = f"https://dns.example:{where}"
    shared = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", files[0]]
    shared += ["--resolve", f"dns.example:{where}:127.0.0.1"]
    rows = [
        ([f"{url}/elsewhere"], "404"),
        ([f"{url}/dns-query?dns=AAAA"], "400"),
        (["-H", "content-type: text/plain", "-d", "x", f"{url}/dns-query"], "415"),
        (["-X", "PUT", f"{url}/dns-query"], "405"),
    ]
    for words, status in rows:
        assert subprocess.run([*shared, *words], capture_output=True, text=True, check=True).stdout == status
    # nobody listens at the address that curl is told; that it was told one is what counts
    trial = ["curl", "-sv", "--doh-url", f"{url}/dns-query", "--doh-insecure", *shared[-2:]]
    said = subprocess.run([*trial, "http://www.p.example:1/", "-m", "2"], capture_output=True, text=True, check=False)
    assert "10.0.0.1" in said.stderr, said.stderr


def test_dnspython_asks_over_quic(start, certificate):
    files = certificate()
    server = start(listener(files, "quic") + ZONE)
    query = dns.message.make_query("www.p.example", "A", use_edns=0, pad=128)
    words = {"port": port(server, "QUIC"), "server_hostname": "dns.example", "verify": str(files[0])}
    answer = dns.query.quic(query, "127.0.0.1", timeout=10, **words)
    assert "10.0.0.1" in str(answer.answer[0])


@pytest.mark.parametrize("post", [True, False])
def test_dnspython_asks_over_http3(other_build, start, certificate, post):
    files = certificate()
    server = start(listener(files, "http3") + ZONE)
    query = dns.message.make_query("www.p.example", "A", use_edns=0, pad=128)
    url = f"https://dns.example:{port(server, 'HTTP/3')}/dns-query"
    words = {"http_version": dns.query.HTTPVersion.H3, "bootstrap_address": "127.0.0.1", "verify": str(files[0])}
    answer = dns.query.https(query, url, timeout=10, post=post, **words)
    assert "10.0.0.1" in str(answer.answer[0]), answer
    assert any(option.otype == dns.edns.OptionType.PADDING for option in answer.options)


def test_http3_says_what_http2_says_and_serves_on(other_build, start, certificate):
    files = certificate()
    server = start(listener(files, "http3") + ZONE)
    query = dns.message.make_query("www.p.example", "A").to_wire()
    message, dns_query = "application/dns-message", "/dns-query"
    rows = [
        ("404", "GET", "/elsewhere", None, b""),
        ("400", "GET", f"{dns_query}?dns=AAAA", None, b""),
        ("415", "POST", dns_query, "text/plain", b"x"),
        ("405", "PUT", dns_query, message, query),
        ("413", "POST", dns_query, message, bytes(70_000)),
        ("400", "POST", dns_query, message, b"\x00" * 5),
        ("200", "POST", dns_query, message, query),
    ] * 10
    said = requests(port(server, "HTTP/3"), files[0], [row[1:] for row in rows])
    for (status, *row), (headers, body) in zip(rows, said, strict=True):
        assert headers[":status"] == status, (row[:3], headers)
        if status == "200":
            assert headers["content-type"] == message and headers["cache-control"].startswith("max-age=")
            assert "10.0.0.1" in str(dns.message.from_wire(body).answer[0])
