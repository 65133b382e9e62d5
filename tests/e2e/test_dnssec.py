"""A validating resolver behind pvtzd: what it needs for a proof comes through, whole or with TC."""

import subprocess

import pytest
from harness import servers

TEXTS = [f"{number}{'x' * 244}" for number in range(4)]

# The wildcard's answer fits 1232 octets, its proof does not. The CNAMEs fit 512 octets, the denial behind them does not.
ZONE = "".join(f'*.wild IN TXT "{text}"\n' for text in TEXTS) + """
ns IN A 192.0.2.53
www IN A 192.0.2.80
*.short IN A 192.0.2.81
one IN CNAME two
two IN CNAME three
three IN CNAME missing
bare IN CNAME www
"""

# Every answer that needs a proof, as `name type rcode`.
QUESTIONS = [
    ("www.signed.test", "A", "NOERROR"),
    ("any.wild.signed.test", "TXT", "NOERROR"),
    ("any.short.signed.test", "A", "NOERROR"),
    ("missing.signed.test", "A", "NXDOMAIN"),
    ("www.signed.test", "AAAA", "NOERROR"),
    ("bare.signed.test", "AAAA", "NOERROR"),
    ("one.signed.test", "A", "NXDOMAIN"),
    ("one.signed.test", "AAAA", "NXDOMAIN"),
]


@pytest.fixture(scope="module", params=["nsec", "nsec3"])
def signed(request, tmp_path_factory):
    """A signed zone and its server."""
    folder = tmp_path_factory.mktemp(request.param)
    zone = servers.sign(folder / "keys", "signed.test", ZONE, request.param == "nsec3")
    root = "signed.test. IN NS ns.signed.test.\nns.signed.test. IN A 127.0.53.1\n"
    server = servers.nsd(folder / "nsd", {".": root, "signed.test": zone})
    yield folder / "keys", server
    server.kill()


@pytest.mark.parametrize("size", [512, 1232])
def test_unbound_validates_everything_that_it_asks_through_us(start, signed, tmp_path, size):
    keys, authority = signed
    ours = start(upstream=[authority])
    extra = f"""
    module-config: "validator iterator"
    trust-anchor-file: "{keys}/anchor"
    edns-buffer-size: {size}
"""
    validator = servers.unbound(tmp_path / "unbound", ours, extra, forwards=True)
    try:
        for name, rtype, rcode in QUESTIONS * 2:
            answer = validator.ask(name, rtype, ad=True, tcp=True)
            assert (answer.rcode, "ad" in answer.flags) == (rcode, True), f"{name} {rtype}: {answer}\n{validator.log}"
        assert sorted(validator.ask("any.wild.signed.test", "TXT", tcp=True).values) == [f'"{text}"' for text in TEXTS]
    finally:
        validator.kill()


def test_delv_validates_everything_that_it_asks_us(start, signed):
    keys, authority = signed
    ours = start(upstream=[authority])
    for name, rtype, _ in QUESTIONS * 2:
        words = ["delv", f"@{ours.where[0]}", "-p", str(ours.where[1]), "-a", keys / "anchor.bind", "+root=signed.test"]
        done = subprocess.run([*map(str, words), name, rtype], capture_output=True, text=True, timeout=30, check=False)
        assert "fully validated" in done.stdout, f"{name} {rtype}: {done.stdout}{done.stderr}"


def test_an_answer_whose_proof_does_not_fit_is_marked(start, signed):
    """The wildcard's proof, and what a denial behind three CNAMEs needs: TC over UDP, everything over TCP."""
    _, authority = signed
    ours = start(upstream=[authority])
    for name, rtype, payload in [("any.wild.signed.test", "TXT", 1232), ("one.signed.test", "A", 512)]:
        for _ in range(3):
            assert "tc" in ours.ask(name, rtype, do=True, payload=payload).flags
        whole = ours.ask(name, rtype, do=True, tcp=True)
        assert "tc" not in whole.flags and any(" NSEC" in line for line in whole.authority)


def test_proofs_are_for_clients_that_sent_do(start, signed):
    _, authority = signed
    ours = start(upstream=[authority])
    for name, rtype, rcode in QUESTIONS:
        answer = ours.ask(name, rtype, tcp=True)
        assert answer.rcode == rcode
        kinds = {line.split(" ")[1] for line in answer.records + answer.authority}
        assert not kinds & {"RRSIG", "NSEC", "NSEC3"}, answer
    assert any(" NSEC " in line for line in ours.ask("www.signed.test", "NSEC").records) or "nsec3" in str(signed[0])
