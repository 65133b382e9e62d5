"""Private zones: who sees what, what is denied, what is handed on, where chains lead."""

import collections
import signal
import textwrap

import dns.message
import dns.name
import dns.query
import dns.rdataclass
import dns.zone
import pytest
from harness.ask import dig

A_CLIENT, B_CLIENT, OTHER = "127.1.0.5", "127.2.0.5", "127.3.0.5"


def zone(name, *records, proxy=None, **keys):
    """A `[[zone]]` in TOML; records are written `name type value`."""
    lines = ["[[zone]]", f'name = "{name}"']
    if proxy is not None:
        lines.append(f"recursion_proxy = {str(proxy).lower()}")
    lines += [f"{key} = {value}" for key, value in keys.items()]
    for record in records:
        owner, rtype, value = record.split(" ", 2)
        quoted = value if value.startswith(("[", "'")) else f"'{value}'"
        lines += ["[[zone.record]]", f'name = "{owner}"', f'type = "{rtype}"', f"value = {quoted}"]
    return "\n".join(lines) + "\n"


TWO_VPCS = textwrap.dedent("""
    [[vpc]]
    id = "vpc-a"
    region = "cn-hangzhou"
    clients = ["127.1.0.0/16"]
    [[vpc]]
    id = "vpc-b"
    region = "cn-hangzhou"
    clients = ["127.2.0.0/16", "127.1.128.0/17"]
""")


def test_proxy_off_denies_and_proxy_on_hands_on(start, authority):
    records = ["www A 10.0.0.1", "t TXT hi"]
    text = zone("private.example", *records) + zone("test", "own A 10.0.0.2", proxy=True)
    server = start(text, upstream=[authority])
    assert server.ask("www.private.example").values == ["10.0.0.1"]
    denied = server.ask("public.private.example")
    assert (denied.rcode, denied.records) == ("NXDOMAIN", [])
    assert denied.authority[0].startswith("private.example SOA ") and "aa" in denied.flags
    assert server.ask("own.test").values == ["10.0.0.2"]
    handed_on = server.ask("www.test")
    assert handed_on.values == ["192.0.2.80"] and "aa" not in handed_on.flags
    assert server.ask("none.test").rcode == "NXDOMAIN"


def test_an_existing_name_without_the_type_is_nodata_in_both_modes(start, authority):
    text = zone("off.example", "t TXT hi") + zone("test", "www TXT hi", proxy=True)
    server = start(text, upstream=[authority])
    for name in ("t.off.example", "www.test"):
        answer = server.ask(name)
        assert answer.is_nodata and " SOA " in answer.authority[0], answer


def test_on_missing_type_forward_asks_outside(start, authority):
    server = start(zone("test", "www TXT hi", proxy=True, on_missing_type='"forward"'), upstream=[authority])
    assert server.ask("www.test").values == ["192.0.2.80"]
    assert server.ask("www.test", "TXT").values == ['"hi"']
    assert server.ask("www.test", "MX").is_nodata


def test_the_console_s_own_words_for_modes_and_records(start, authority):
    text = """
        [[zone]]
        name = "test"
        proxy_pattern = "RECORD"
        [[zone.record]]
        rr = "mine"
        type = "MX"
        priority = 7
        value = "mx.mine.test"
    """
    server = start(text, upstream=[authority])
    assert server.ask("mine.test", "MX").values == ["7 mx.mine.test"]
    assert server.ask("www.test").values == ["192.0.2.80"]


def test_two_vpcs_see_different_answers_for_one_name(start, authority):
    text = TWO_VPCS + zone("private.example", "@ A 10.1.1.1", "www A 10.1.1.2", vpcs='["vpc-a"]')
    text += zone("private.example", "@ A 10.2.2.2", vpcs='["vpc-b"]')
    server = start(text, upstream=[authority])
    for source, expected in (
        (A_CLIENT, ["10.1.1.1"]),
        (B_CLIENT, ["10.2.2.2"]),
        ("127.1.200.1", ["10.2.2.2"]),  # the longer range of vpc-b within that of vpc-a
        (OTHER, ["192.0.2.101"]),  # in no VPC: the public answer
    ):
        assert server.ask("private.example", source=source).values == expected, source
        assert server.ask("private.example", source=source, tcp=True).values == expected, source
        assert dig(server.where, "private.example", "+short", source=source).text.split() == expected
    assert server.ask("www.private.example", source=B_CLIENT).rcode == "NXDOMAIN"


def test_two_vpcs_do_not_see_each_other_s_data_through_the_cache(start, authority):
    """A public name that leads to one private to vpc-a, asked by both, in both orders."""
    text = TWO_VPCS + zone("private.example", "host A 10.1.1.3", vpcs='["vpc-a"]')
    for first, second in ((A_CLIENT, B_CLIENT), (B_CLIENT, A_CLIENT)):
        server = start(text, upstream=[authority])
        seen = {source: server.ask("back.test", source=source).values[-1] for source in (first, second, first)}
        assert seen == {A_CLIENT: "10.1.1.3", B_CLIENT: "192.0.2.102"}


def test_a_forwarding_rule_for_one_vpc(start, authority, fake):
    corp = fake(lambda asked: asked.response("@ 60 IN A 198.51.100.7"))
    rule = f"""
        [[forward]]
        zone = "test"
        servers = ["{corp.address}"]
        vpcs = ["vpc-b"]
    """
    server = start(TWO_VPCS + textwrap.dedent(rule), upstream=[authority])
    assert server.ask("www.test", source=A_CLIENT).values == ["192.0.2.80"]
    assert server.ask("www.test", source=B_CLIENT).values == ["198.51.100.7"]
    assert server.ask("www.test", source=A_CLIENT).values == ["192.0.2.80"]


def test_the_longest_forwarding_rule_counts_and_zones_come_first(start, authority, fake):
    short = fake(lambda asked: asked.response("@ 60 IN A 198.51.100.1"))
    long = fake(lambda asked: asked.response("@ 60 IN A 198.51.100.2"))
    text = "".join(
        f'[[forward]]\nzone = "{name}"\nservers = ["{server.address}"]\n'
        for name, server in (("corp.test", short), ("deep.corp.test", long))
    )
    text += zone("zone.corp.test", "here A 10.3.3.3", proxy=True)
    server = start(text, upstream=[authority])
    for name, expected in (
        ("corp.test", "198.51.100.1"),
        ("a.CORP.test", "198.51.100.1"),
        ("deep.corp.test", "198.51.100.2"),
        ("x.deep.corp.test", "198.51.100.2"),
        ("xdeep.corp.test", "198.51.100.1"),
        ("here.zone.corp.test", "10.3.3.3"),
        ("other.zone.corp.test", "198.51.100.1"),  # the recursion proxy goes through the rules
        ("www.test", "192.0.2.80"),
    ):
        assert server.ask(name).values == [expected], name


def test_a_nested_zone_hides_its_part_of_the_parent(start, authority):
    text = zone("private.example", "a.sub A 10.0.0.1", "* A 10.0.0.9")
    text += zone("sub.private.example", "b A 10.0.0.2", proxy=True)
    text += zone("deep.below.private.example", "c A 10.0.0.3")
    server = start(text, upstream=[authority])
    assert server.ask("b.sub.private.example").values == ["10.0.0.2"]
    hidden = server.ask("a.sub.private.example")
    assert hidden.rcode == "NXDOMAIN", "no detour through the parent zone, the public DNS has the word"
    assert server.ask("x.private.example").values == ["10.0.0.9"]
    assert server.ask("c.deep.below.private.example").values == ["10.0.0.3"]
    assert server.ask("d.deep.below.private.example").rcode == "NXDOMAIN"


def test_a_zone_below_makes_the_names_above_it_exist(start):
    server = start(zone("p.example") + zone("deep.below.p.example", "c A 10.0.0.3"))
    assert server.ask("below.p.example").is_nodata
    assert server.ask("other.p.example").rcode == "NXDOMAIN"


@pytest.mark.parametrize(
    ("name", "rtype", "expected"),
    [
        # the zone of RFC 4592 section 2.2.1 as far as PrivateZone can hold it
        ("host3.example", "MX", ["10 host1.example"]),
        ("host3.example", "A", []),
        ("foo.bar.example", "TXT", ['"this is a wildcard"']),
        ("host1.example", "MX", []),
        ("sub.*.example", "MX", []),
        ("_telnet._tcp.host1.example", "SRV", "NXDOMAIN"),
        ("_ssh._tcp.host1.example", "SRV", ["0 0 22 host1.example"]),
        ("_tcp.host1.example", "A", []),
        ("ghost.*.example", "MX", "NXDOMAIN"),
        ("x.y.host2.example", "TXT", "NXDOMAIN"),
        ("*.example", "MX", ["10 host1.example"]),
    ],
)
def test_wildcards_and_empty_non_terminals_are_those_of_rfc_4592(start, name, rtype, expected):
    text = """
        [[zone]]
        name = "example"
    """
    text = textwrap.dedent(text)
    for owner, kind, value in (
        ("*", "TXT", "'\"this is a wildcard\"'"),
        ("*", "MX", "'10 host1.example'"),
        ("sub.*", "TXT", "'\"this is not a wildcard\"'"),
        ("host1", "A", "'192.0.2.1'"),
        ("host2", "A", "'192.0.2.2'"),
        ("_ssh._tcp.host1", "SRV", "'0 0 22 host1.example'"),
        ("_ssh._tcp.host2", "SRV", "'0 0 22 host2.example'"),
    ):
        text += f'[[zone.record]]\nname = "{owner}"\ntype = "{kind}"\nvalue = {value}\n'
    answer = start(text).ask(name, rtype)
    if expected == "NXDOMAIN":
        assert answer.rcode == "NXDOMAIN", answer
    else:
        assert (answer.rcode, answer.values) == ("NOERROR", expected), answer
        assert all(line.startswith(f"{name} ") for line in answer.records)


def test_empty_non_terminals_with_the_proxy_on(start, authority):
    server = start(zone("test", "x.y A 10.0.0.1", "q.a.b.ent A 10.0.0.4", proxy=True), upstream=[authority])
    assert server.ask("y.test").is_nodata, "the public NXDOMAIN cannot be true: x.y.test exists"
    assert server.ask("a.b.ent.test").values == ["192.0.2.90"]
    assert server.ask("test", "MX").is_nodata


def test_wildcards_with_the_proxy_on(start, authority):
    on = start(zone("test", "* A 10.0.0.7", proxy=True), upstream=[authority])
    assert on.ask("www.test").values == ["10.0.0.7"]
    off = start(zone("test", "* A 10.0.0.7", proxy=True, wildcards='"off-with-proxy"'), upstream=[authority])
    assert off.ask("www.test").values == ["192.0.2.80"]


def test_private_to_public_to_private_and_back(start, authority):
    text = zone(
        "private.example",
        "start CNAME in.test",  # public, leads to inner.private.example
        "inner CNAME alias.test",  # private again, leads to a public chain
        "host A 10.4.4.4",
    )
    server = start(text, upstream=[authority])
    assert server.ask("start.private.example").records == [
        "start.private.example CNAME in.test",
        "in.test CNAME inner.private.example",
        "inner.private.example CNAME alias.test",
        "alias.test CNAME www.test",
        "www.test A 192.0.2.80",
    ]
    # The upstream appends its own idea of host.private.example; the private data counts.
    assert server.ask("back.test").records == [
        "back.test CNAME host.private.example",
        "host.private.example A 10.4.4.4",
    ]


def test_a_recursive_upstream_s_idea_of_a_private_name_is_never_believed(start, recursive):
    server = start(zone("private.example", "host A 10.4.4.4"), upstream=[recursive])
    assert server.ask("back.test").values == ["host.private.example", "10.4.4.4"]
    inner = server.ask("in.test")
    assert (inner.rcode, inner.values) == ("NXDOMAIN", ["inner.private.example"])
    assert server.ask("host.private.example").values == ["10.4.4.4"]


def test_a_public_name_that_leads_into_the_recipe(start, recursive):
    server = start(upstream=[recursive])
    answer = server.ask("api.aliyuncs.com")
    assert answer.values == [
        "ecs.cn-hangzhou.aliyuncs.com",
        "popunify-vpc.cn-hangzhou.aliyuncs.com",
        "100.100.1.2",
    ]
    assert answer.ttls[1] == 60 and all(0 < ttl <= 120 for ttl in answer.ttls), "unbound's own cache ages"


def test_the_code_is_that_of_the_last_name(start, authority):
    text = zone("p.example", "gone CNAME none.test", "own CNAME missing.p.example", "dead CNAME www.p2.example")
    text += '[[forward]]\nzone = "p2.example"\nservers = ["127.0.0.1:9"]\n'
    server = start(text, upstream=[authority])
    gone = server.ask("gone.p.example")
    assert (gone.rcode, gone.values) == ("NXDOMAIN", ["none.test"])
    own = server.ask("own.p.example")
    assert (own.rcode, own.values) == ("NXDOMAIN", ["missing.p.example"])
    dead = server.ask("dead.p.example")
    assert (dead.rcode, dead.records) == ("SERVFAIL", []), "never half a chain as if it were success"
    assert dead.ede, dead


def test_loops_of_cnames_end(start, authority):
    text = zone("p.example", "a CNAME b.p.example", "b CNAME a.p.example", "s CNAME s.p.example")
    server = start(text, upstream=[authority])
    assert server.ask("s.p.example").records == ["s.p.example CNAME s.p.example"]
    assert len(server.ask("a.p.example").records) == 2
    assert server.ask("loop1.test").rcode in ("NOERROR", "SERVFAIL")
    assert server.ask("www.test").values == ["192.0.2.80"]


def test_a_negative_answer_carries_the_soa(start, authority):
    server = start(zone("p.example", "t TXT hi"), upstream=[authority])
    for name, rcode, apex in (
        ("none.p.example", "NXDOMAIN", "p.example"),
        ("t.p.example", "NOERROR", "p.example"),
        ("none.test", "NXDOMAIN", "test"),
        ("text.test", "NOERROR", "test"),
    ):
        answer = server.ask(name)
        assert answer.rcode == rcode and not answer.records
        assert answer.authority[0].startswith(f"{apex} SOA "), answer


def test_soa_and_ns_of_a_zone_stand_beside_an_apex_cname(start, authority):
    server = start(zone("p.example", "@ CNAME www.test"), upstream=[authority])
    assert server.ask("p.example", "SOA").records[0].startswith("p.example SOA ")
    assert server.ask("p.example", "NS").records[0].startswith("p.example NS ")
    assert server.ask("p.example").values == ["www.test", "192.0.2.80"]


def test_all_record_types(start):
    text = zone(
        "p.example",
        "a A 10.0.0.1",
        "aaaa AAAA 2001:db8::1",
        "cname CNAME a.p.example",
        'txt TXT "two" "strings"',
        "long TXT " + "x" * 300,
        "mx MX 10 a.p.example",
        "_sip._udp SRV 1 2 5060 a.p.example",
        "ns NS a.p.example",
        'caa CAA 0 issue "ca.test"',
        "https HTTPS 1 . alpn=h2",
        r"unknown TYPE65300 \# 3 0a0b0c",
    )
    text += zone("1.10.in-addr.arpa", "2.3 PTR a.p.example")
    server = start(text)
    for name, rtype, values in (
        ("a.p.example", "A", ["10.0.0.1"]),
        ("aaaa.p.example", "AAAA", ["2001:db8::1"]),
        ("cname.p.example", "CNAME", ["a.p.example"]),
        ("txt.p.example", "TXT", ['"two" "strings"']),
        ("long.p.example", "TXT", [f'"{"x" * 255}" "{"x" * 45}"']),
        ("mx.p.example", "MX", ["10 a.p.example"]),
        ("_sip._udp.p.example", "SRV", ["1 2 5060 a.p.example"]),
        ("ns.p.example", "NS", ["a.p.example"]),
        ("caa.p.example", "CAA", ['0 issue "ca.test"']),
        ("https.p.example", "HTTPS", ['1 . alpn="h2"']),
        ("unknown.p.example", "TYPE65300", [r"\# 3 0a0b0c"]),
        ("2.3.1.10.in-addr.arpa", "PTR", ["a.p.example"]),
    ):
        assert server.ask(name, rtype).values == values, name


def test_several_addresses_rotate(start, authority):
    server = start(zone("p.example", "www A ['10.0.0.1', '10.0.0.2', '10.0.0.3']"), upstream=[authority])
    firsts = collections.Counter()
    for _ in range(30):
        addresses = server.ask("www.p.example").values
        assert sorted(addresses) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        firsts[addresses[0]] += 1
    assert all(firsts[f"10.0.0.{n}"] == 10 for n in (1, 2, 3)), firsts


def weighted(name, rtype, values):
    lines = []
    for value, weight in values:
        lines.append(f'[[zone.record]]\nname = "{name}"\ntype = "{rtype}"\nvalue = "{value}"\nweight = {weight}\n')
    return "".join(lines)


def test_weights_share_the_answers_out(start, authority):
    text = zone("p.example") + weighted("w", "A", [("10.0.0.1", 75), ("10.0.0.2", 25), ("10.0.0.3", 0)])
    text += weighted("c", "CNAME", [("www.test", 50), ("multi.test", 50)])
    server = start(text, upstream=[authority])
    seen = collections.Counter(server.ask("w.p.example").values[0] for _ in range(400))
    assert seen["10.0.0.3"] == 0 and set(seen) <= {"10.0.0.1", "10.0.0.2"}
    assert 240 < seen["10.0.0.1"] < 360, seen
    targets = collections.Counter(server.ask("c.p.example").values[0] for _ in range(200))
    assert set(targets) == {"www.test", "multi.test"} and min(targets.values()) > 50, targets


def test_a_disabled_record_is_not_in_the_zone(start):
    text = """
        [[zone]]
        name = "p.example"
        [[zone.record]]
        name = "www"
        type = "A"
        value = "10.0.0.1"
        [[zone.record]]
        name = "www"
        type = "A"
        value = "10.0.0.2"
        enabled = false
        [[zone.record]]
        name = "off"
        type = "A"
        value = "10.0.0.3"
        enabled = false
    """
    server = start(text)
    assert server.ask("www.p.example").values == ["10.0.0.1"]
    assert server.ask("off.p.example").rcode == "NXDOMAIN"


def test_special_names_stay_here(start, fake):
    upstream = fake()
    server = start(upstream=[upstream])
    assert server.ask("localhost").values == ["127.0.0.1"]
    assert server.ask("localhost", "AAAA").values == ["::1"]
    for name in ("printer.local", "x.invalid", "x.onion"):
        assert server.ask(name).rcode == "NXDOMAIN"
    assert server.ask("1.0.0.10.in-addr.arpa", "PTR").rcode == "NXDOMAIN"
    assert server.ask("1.0.0.127.in-addr.arpa", "PTR").values == ["localhost"]
    assert upstream.questions() == []
    switched_off = start("[server]\nlocal_names = []\n", upstream=[upstream])
    assert switched_off.ask("printer.local").values == ["192.0.2.1"]


ZONE_FILE = r"""
$TTL 1h
@ IN SOA ns1 hostmaster ( 7 ; serial
    3600 900
    604800 60 )
  NS ns1
  NS ns.other.example.
ns1 300 A 192.0.2.1
www A 192.0.2.2
    AAAA 2001:db8::2
    HTTPS 1 . alpn="h2,h3" port=8443
ftp CNAME www
@ MX 10 mail
  TXT "v=spf1 -all" "two words; not a comment" \"quoted\"
  CAA 0 issue "ca.example"
_sip._udp SRV 1 2 5060 www
*.dev 60 A 192.0.2.9
a\.b TXT dot
\000 TXT nul
2.0/25 PTR www
naptr NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .
loc LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
ds DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118
tlsa TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
odd TYPE65300 \# 3 0a0b0c
$ORIGIN deep.sub
x TXT ( "over"
   "lines" )
"""


def test_a_zone_file_is_served_as_an_independent_reader_has_it(start, tmp_path):
    (tmp_path / "corp.zone").write_text(ZONE_FILE)
    file = tmp_path / "corp.zone"
    server = start(f"[[zone]]\nname = \"corp.example\"\nfile = '{file}'\n")
    origin = dns.name.from_text("corp.example.")
    expected = dns.zone.from_text(ZONE_FILE, origin, relativize=False)
    asked = 0
    for owner, rdataset in expected.iterate_rdatasets():
        query = dns.message.make_query(owner, rdataset.rdtype)
        reply = dns.query.udp(query, server.where[0], port=server.port, timeout=5)
        rrset = reply.get_rrset(reply.answer, owner, dns.rdataclass.IN, rdataset.rdtype)
        assert rrset is not None, (owner, rdataset)
        assert set(rrset) == set(rdataset) and rrset.ttl == rdataset.ttl, (rrset, rdataset)
        asked += 1
    assert asked == len(list(expected.iterate_rdatasets())) == 20
    denied = server.ask("none.corp.example")
    assert denied.rcode == "NXDOMAIN" and denied.authority == [
        "corp.example SOA ns1.corp.example hostmaster.corp.example 7 3600 900 604800 60"
    ]
    assert server.ask("any.dev.corp.example").values == ["192.0.2.9"]
    assert server.ask("sub.corp.example").is_nodata, "an empty non-terminal"


def test_a_faulty_zone_file_changes_nothing(start, tmp_path):
    file = tmp_path / "corp.zone"
    file.write_text("www A 192.0.2.1\n")
    server = start(f"[[zone]]\nname = \"corp.example\"\nfile = '{file}'\n")
    file.write_text("www A 192.0.2.2\n\nftp A nonsense\n")
    before = len(server.lines)
    server.send(signal.SIGHUP)
    server.logged(r"corp\.zone:3", after=before)
    assert server.ask("www.corp.example").values == ["192.0.2.1"]
    file.write_text("www A 192.0.2.3\n")
    server.reload()
    assert server.ask("www.corp.example").values == ["192.0.2.3"]
