"""The same job done by pvtzd, by unbound and by BIND (response policy zones), over the same authority.

Where all must agree, their codes and answer sections are compared. Where they must not, DIFFER says what pvtzd
answers and why; differences.md is the same list for people, and a test holds the two together.
"""

import itertools
from pathlib import Path

import pytest
from harness import servers
from harness.world import POPUNIFY, REGIONS

# What the policy of unbound and BIND says is what pvtzd's zones say, as far as a policy can say it.
CONFIG = """
[endpoints]
products = ["ecs"]

[[zone]]
name = "test"
recursion_proxy = true
[[zone.record]]
name = "own"
type = "A"
value = "10.0.0.2"
[[zone.record]]
name = "own"
type = "TXT"
value = "mine"
[[zone.record]]
name = "multi"
type = "A"
value = ["10.0.0.3", "10.0.0.4"]
[[zone.record]]
name = "lead"
type = "CNAME"
value = "chain1.test"
[[zone.record]]
name = "nowhere"
type = "CNAME"
value = "gone.test"
[[zone.record]]
name = "deep.er.here"
type = "A"
value = "10.0.0.5"

[[zone]]
name = "private.example"
[[zone.record]]
name = "host"
type = "A"
value = "10.0.0.6"
[[zone.record]]
name = "step"
type = "CNAME"
value = "www.test"
[[zone.record]]
name = "mixed"
type = "CNAME"
value = "host.private.example"
[[zone.record]]
name = "*.w"
type = "A"
value = "10.0.0.7"
[[zone.record]]
name = "x.w"
type = "A"
value = "10.0.0.8"
"""

_POLICY = "".join(f"ecs.{region}.aliyuncs.com CNAME popunify-vpc.{region}.aliyuncs.com.\n" for region in POPUNIFY)
_POLICY += """
ecs-cn-hangzhou.aliyuncs.com CNAME popunify-vpc.cn-hangzhou.aliyuncs.com.
ecs.aliyuncs.com CNAME popunify-vpc.cn-hangzhou.aliyuncs.com.
own.test A 10.0.0.2
own.test TXT "mine"
multi.test A 10.0.0.3
multi.test A 10.0.0.4
lead.test CNAME chain1.test.
nowhere.test CNAME gone.test.
deep.er.here.test A 10.0.0.5
private.example CNAME *.
*.private.example CNAME .
host.private.example A 10.0.0.6
step.private.example CNAME www.test.
mixed.private.example CNAME host.private.example.
*.w.private.example A 10.0.0.7
x.w.private.example A 10.0.0.8
"""
POLICY = "".join(line.replace(" ", " 60 IN ", 1) + "\n" for line in _POLICY.split("\n") if line)

# Names and types about which all three must say the same.
AGREE = [
    *((f"ecs.{region}.aliyuncs.com", rtype) for region in POPUNIFY for rtype in ("A", "AAAA")),
    *((f"ecs.{region}.aliyuncs.com", "TXT") for region in ("cn-hangzhou", "eu-central-1")),
    *((f"ecs.{region}.aliyuncs.com", "CNAME") for region in ("cn-hangzhou", "cn-beijing")),
    *((f"sub.ecs.{region}.aliyuncs.com", "A") for region in REGIONS),
    ("ecs.us-west-1.aliyuncs.com", "A"),
    ("ecs-cn-hangzhou.aliyuncs.com", "A"),
    ("ecs.aliyuncs.com", "AAAA"),
    ("eCs.CN-hangZhou.ALIYUNcs.com", "A"),
    ("none.ecs.cn-hangzhou.aliyuncs.com", "A"),
    ("cn-hangzhou.aliyuncs.com", "A"),
    ("sts.cn-hangzhou.aliyuncs.com", "A"),
    ("oss.aliyuncs.com", "TXT"),
    # a public name that leads to one with private data
    ("api.aliyuncs.com", "A"),
    ("in.test", "A"),
    ("back.test", "A"),
    # private data, and what is beside it
    ("own.test", "A"),
    ("OWN.test", "TXT"),
    ("own.test", "AAAA"),
    ("multi.test", "A"),
    ("lead.test", "A"),
    ("lead.test", "AAAA"),
    ("nowhere.test", "A"),
    ("deep.er.here.test", "A"),
    ("host.private.example", "A"),
    ("host.private.example", "MX"),
    ("step.private.example", "A"),
    ("step.private.example", "AAAA"),
    ("step.private.example", "MX"),
    ("below.host.private.example", "A"),
    ("none.private.example", "A"),
    ("public.private.example", "A"),
    ("any.w.private.example", "A"),
    ("x.w.private.example", "A"),
    ("below.x.w.private.example", "A"),
    # the public DNS: forwarded alike
    ("www.test", "A"),
    ("www.test", "AAAA"),
    ("www.test", "MX"),
    ("WwW.tEsT", "A"),
    ("mixed.test", "A"),
    ("text.test", "TXT"),
    ("mail.test", "MX"),
    ("_sip._udp.test", "SRV"),
    ("caa.test", "CAA"),
    ("alias.test", "A"),
    ("alias.test", "CNAME"),
    ("alias.test", "MX"),
    ("alias2.test", "A"),
    ("away.test", "A"),
    ("dangling.test", "A"),
    ("gone.test", "A"),
    ("gone.test", "TXT"),
    ("chain1.test", "A"),
    ("a.b.ent.test", "A"),
    ("b.ent.test", "A"),
    ("ent.test", "MX"),
    ("none.ent.test", "A"),
    ("q.wild.test", "A"),
    ("q.r.wild.test", "TXT"),
    ("q.wild.test", "MX"),
    ("x.wild.test", "A"),
    ("x.wild.test", "TXT"),
    ("below.x.wild.test", "A"),
    ("wild.test", "A"),
    ("*.wild.test", "A"),
    ("any.cwild.test", "A"),
    ("www.example", "A"),
    ("example", "A"),
    ("nothing.at-all", "A"),
    ("big.test", "A"),
]

# Names and types about which they must not agree, or need not: what pvtzd says (how its records begin), which
# peers say otherwise, and why.
DIFFER = [
    (
        "here.test",
        "A",
        ("NOERROR", []),
        {"unbound", "bind"},
        "deep.er.here.test is private, so the names above it exist; a policy knows no empty non-terminals",
    ),
    (
        "w.private.example",
        "A",
        ("NOERROR", []),
        {"unbound", "bind"},
        "the same inside a zone with the proxy off: *.w exists, so w does",
    ),
    (
        "mixed.private.example",
        "A",
        ("NOERROR", ["mixed.private.example CNAME host.private.example", "host.private.example A 10.0.0.6"]),
        {"unbound", "bind"},
        "a private CNAME to a private name: what a policy has written is not looked at by the policy again",
    ),
    (
        "private.example",
        "SOA",
        ("NOERROR", ["private.example SOA"]),
        {"unbound", "bind"},
        "a private zone has a SOA; a policy has none",
    ),
    (
        "own.test",
        "ANY",
        ("NOERROR", ['own.test HINFO "rfc8482" ""']),
        {"unbound", "bind"},
        "ANY is answered with the hint of RFC 8482",
    ),
    (
        "loop1.test",
        "A",
        ("NOERROR", ["loop1.test CNAME loop2.test", "loop2.test CNAME loop1.test"]),
        {"unbound", "bind"},
        "a loop of CNAMEs ends with what is there, as PrivateZone documents it",
    ),
    (
        "printer.local",
        "A",
        ("NXDOMAIN", []),
        set(),
        "multicast names are not asked of the public DNS (RFC 6762); here nobody has them either",
    ),
    (
        "localhost",
        "A",
        ("NOERROR", ["localhost A 127.0.0.1"]),
        {"bind"},
        "localhost is answered here (RFC 6761)",
    ),
]


@pytest.fixture(scope="module")
def peers(authority, tmp_path_factory):
    """unbound and BIND, each with the policy."""
    running = {
        "unbound": servers.unbound(tmp_path_factory.mktemp("unbound-policy"), authority, rpz=POLICY),
        "bind": servers.bind(tmp_path_factory.mktemp("bind-policy"), authority, POLICY),
    }
    yield running
    for server in running.values():
        server.kill()


@pytest.fixture
def server(start, authority):
    return start(CONFIG, upstream=[authority])


def said(where, name, rtype):
    """The code and the answer section: in order of the chain, a set's records sorted."""
    answer = where.ask(name, rtype, tcp=True)
    lines = [line.split(" ", 2) for line in answer.records]
    grouped = itertools.groupby(lines, key=lambda line: (line[0].lower(), line[1]))
    records = [f"{owner} {kind} {value.lower()}" for (owner, kind), group in grouped for _, _, value in sorted(group)]
    ttls = {line.split(" ", 2)[1]: ttl for line, ttl in zip(answer.records, answer.ttls, strict=True)}
    return answer.rcode, records, ttls


@pytest.mark.parametrize(("name", "rtype"), AGREE, ids=[f"{name}-{rtype}" for name, rtype in AGREE])
def test_all_agree(server, peers, name, rtype):
    code, records, ttls = said(server, name, rtype)
    for peer, where in peers.items():
        their_code, their_records, their_ttls = said(where, name, rtype)
        assert (code, records) == (their_code, their_records), peer
        for kind, ttl in ttls.items():
            # a record that a peer has cached since an earlier question has aged
            assert 0 <= ttl - their_ttls[kind] <= 60, f"{peer}: TTL of {kind} {ttl} against {their_ttls[kind]}"


@pytest.mark.parametrize(("name", "rtype", "ours", "who", "why"), DIFFER, ids=[row[0] for row in DIFFER])
def test_those_that_must_not_agree(server, peers, name, rtype, ours, who, why):
    code, records, _ = said(server, name, rtype)
    expected_code, expected = ours
    assert code == expected_code
    assert len(records) == len(expected), records
    for line, beginning in zip(records, expected, strict=True):
        assert line.startswith(beginning), records
    differing = {peer for peer, where in peers.items() if said(where, name, rtype)[:2] != (code, records)}
    assert differing == who, why


def test_aa_is_ours_alone(server, peers):
    """A private answer has AA; a resolver with a policy does not claim it."""
    assert "aa" in server.ask("own.test").flags
    assert "aa" not in peers["bind"].ask("own.test").flags


def test_every_answer_agrees_when_asked_again_out_of_the_cache(server, peers):
    for _ in range(2):
        for name, rtype in AGREE:
            assert said(server, name, rtype)[:2] == said(peers["bind"], name, rtype)[:2], (name, rtype)


def test_the_list_for_people_has_every_difference():
    text = (Path(__file__).parent / "differences.md").read_text()
    for name, rtype, *_ in DIFFER:
        assert f"`{name}` {rtype}" in text, name
