"""Names and values in text: what pvtzd reads and shows, against dnspython, dig and kdig."""

import json
import os
import shutil
import subprocess

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from harness.fake import soa
from harness.process import binary

NAMES = [
    r"\101x",
    r"My\032Printer._ipp._tcp",
    "0/25",
    "-a",
    "a+b",
    r"\000",
    r"a\.b",
    r"c\\",
    r"q\"uote",
    r"\@",
    r"\(x\)\;\$",
    r"\255\127",
    "under_score",
    "UPPER",
]

# One value of each type, as dnspython writes it.
VALUES = {
    "SOA": "ns.test. host\\.master.test. 2026010100 3600 600 86400 60",
    "DS": "60485 5 1 2bb183af5f22588179a53b0a98631fad1a292118",
    "DNSKEY": "257 3 8 AwEAAQ==",
    "RRSIG": "A 8 2 300 20260131235959 20260101000000 12345 test. AQID",
    "NSEC": "b.test. A MX RRSIG NSEC TYPE1234",
    "NSEC3": "1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG",
    "NSEC3PARAM": "1 0 12 aabbccdd",
    "HINFO": '"a \\"cpu\\"" "os"',
    "CAA": '0 issue "ca.example; policy=ev"',
    "TLSA": "3 1 1 " + "0a0b" * 16,
    "SSHFP": "4 2 " + "ab01" * 16,
    "NAPTR": '100 50 "s" "z3950+I2L+I2C" "!^(.*)$!\\\\1!" _z3950._tcp.test.',
    "LOC": "42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m",
    "TXT": '"one" "two \\"x\\" \\\\ \\195\\169\\000"',
    "MX": "10 mail.test.",
    "SRV": "10 5 5060 sip.test.",
    "RP": "a.test. b.test.",
    "URI": '10 1 "https://example.com/"',
    "CDS": "60485 5 1 2bb183af5f22588179a53b0a98631fad1a292118",
    "CSYNC": "66 3 A NS AAAA",
    "DNAME": "target.test.",
    "SVCB": '1 svc.test. mandatory="port" alpn="h2,h3" port="853" ipv4hint="192.0.2.1"',
    "HTTPS": '1 . alpn="h2,h3" ipv6hint="2001:db8::1"',
    "OPENPGPKEY": "AQID",
    "EUI48": "00-00-5e-00-53-2a",
    "APL": "1:192.0.2.0/24 !2:2001:db8::/32",
    "TYPE65280": "\\# 3 0a0b0c",
}


def pvtzd(*words):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PVTZD")}
    done = subprocess.run(
        [binary(), *map(str, words)], capture_output=True, timeout=20, env=environment, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def records(server, name, rtype):
    """The answer section as `query --json` has it."""
    _, out, err = pvtzd("--json", "query", name, rtype, "--server", f"127.0.0.1:{server.port}")
    assert out, err
    return json.loads(out)["answers"]


def test_names_are_those_of_dnspython_and_dig(start):
    zone = "".join(
        f"[[zone.record]]\nname = '{name}'\ntype = 'TXT'\nvalue = '{number}'\n" for number, name in enumerate(NAMES)
    )
    server = start(f"[[zone]]\nname = 'z.test'\n{zone}")
    for number, name in enumerate(NAMES):
        full = dns.name.from_text(f"{name}.z.test.")
        assert [rdata.strings for rdata in server.ask(full, "TXT").message.answer[0]] == [(str(number).encode(),)], name
        shown = records(server, f"{name}.z.test", "TXT")
        assert shown[0]["value"] == f'"{number}"'
        assert dns.name.from_text(shown[0]["name"] + ".") == full, name
        explained = pvtzd("--config", server.config_file, "explain", f"{name}.z.test", "TXT")[1]
        assert shown[0]["name"] in explained
        out = subprocess.run(
            ["dig", "@127.0.0.1", "-p", str(server.port), "+noall", "+answer", "-q", f"{name}.z.test.", "-t", "TXT"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
        assert dns.name.from_text(out.split()[0]) == full, out


def test_a_name_in_unicode_is_its_a_label_and_is_shown_beside_it(start):
    server = start(
        "[[zone]]\nname = '例子.test'\n[[zone.record]]\nname = '_测试'\ntype = 'A'\nvalue = '10.0.0.1'\n"
        "[[zone.record]]\nname = 'c'\ntype = 'CNAME'\nvalue = '_测试.例子.test'\n"
    )
    ascii_zone = "xn--fsqu00a.test"
    assert server.ask(f"c.{ascii_zone}.", "A").message.answer[1][0].address == "10.0.0.1"
    for name in ["c.例子.test", f"c.{ascii_zone}", "c.例子。test"]:
        _, out, _ = pvtzd("query", name, "--server", f"127.0.0.1:{server.port}")
        first, second = out.splitlines()
        assert first.startswith(f"c.{ascii_zone}  60  CNAME  xn--_-") and first.endswith(";  c.例子.test".replace("  ", " "))
        assert second.endswith("; _测试.例子.test")
        assert records(server, name, "A")[0]["unicode"] == "c.例子.test"
        assert "(c.例子.test)" in pvtzd("--config", server.config_file, "explain", name)[1]


def wire(rtype, text):
    return dns.rdata.from_text(dns.rdataclass.IN, rtype, text, origin=dns.name.root).to_wire(origin=dns.name.root)


def test_answers_are_shown_as_text_that_others_read(fake):
    """`query` shows each type in its form: dnspython reads it back to the octets that were sent."""

    def script(asked):
        value = VALUES.get(asked.rtype)
        return asked.response(f"@ 60 IN {asked.rtype} {value}") if value else asked.response(authority=[soa()])

    upstream = fake(script)
    for rtype, value in VALUES.items():
        _, out, err = pvtzd("query", "www.test", rtype, "--server", f"127.0.0.1:{upstream.port}")
        assert out.startswith(f"www.test  60  {rtype}  "), (rtype, out, err)
        shown = out.rstrip("\n").split("  ", 3)[3]
        assert shown.startswith("\\#") == value.startswith("\\#"), (rtype, shown)
        assert wire(rtype, shown) == wire(rtype, value), (rtype, shown)


@pytest.mark.skipif(not shutil.which("dig"), reason="no dig")
def test_answers_are_shown_as_dig_shows_them(fake):
    def script(asked):
        value = VALUES.get(asked.rtype)
        return asked.response(f"@ 60 IN {asked.rtype} {value}") if value else asked.response(authority=[soa()])

    def alike(text):
        words = [word.rstrip(".") or "." for word in text.split()]
        return " ".join(words)

    upstream = fake(script)
    for rtype in VALUES:
        # dig looks at the owner of NSEC3
        owner = "2t7b4g4vsa5smi47k61mv5bv1a22bojr.test" if rtype == "NSEC3" else "www.test"
        shown = pvtzd("query", owner, rtype, "--server", f"127.0.0.1:{upstream.port}")[1].split("  ", 3)[3]
        dig = subprocess.run(
            ["dig", "@127.0.0.1", "-p", str(upstream.port), "+short", "+nosplit", "+norrcomments", owner, rtype],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
        if rtype == "TYPE65280":
            shown = shown.upper()
        assert alike(shown) == alike(dig), rtype


SVCB_GOOD = [
    "0 foo.example.com.",
    "1 .",
    "16 foo.example.com. port=53",
    "1 foo.example.com. key667=hello",
    r'1 foo.example.com. key667="hello\210qoo"',
    '1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1"',
    "1 example.com. ipv6hint=2001:db8:122:344::192.0.2.33",
    "16 foo.example.org. (\n alpn=h2,h3-19 mandatory=ipv4hint,alpn\n ipv4hint=192.0.2.1 )",
    r'16 foo.example.org. alpn="f\\\\oo\\,bar,h2"',
    r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2",
    "1 . port=8443 alpn=h3 no-default-alpn ech=AAEC ipv4hint=192.0.2.1",
    '1 dns.example. alpn=h2 dohpath="/dns-query{?dns}" ohttp',
]

SVCB_BAD = [
    "1 foo.example.com. ( key123=abc key123=def )",
    "1 foo.example.com. mandatory",
    "1 foo.example.com. alpn",
    "1 foo.example.com. port",
    "1 foo.example.com. ipv4hint",
    "1 foo.example.com. ipv6hint",
    "1 foo.example.com. no-default-alpn=abc",
    "1 foo.example.com. mandatory=key123",
    "1 foo.example.com. mandatory=mandatory",
    "1 foo.example.com. ( mandatory=key123,key123 key123=abc )",
]


def test_service_parameters_are_those_of_dnspython_and_kdig(start):
    zone = "".join(
        f"[[zone.record]]\nname = 'r{number}'\ntype = 'SVCB'\nvalue = '''{value}'''\n"
        for number, value in enumerate(SVCB_GOOD)
    )
    server = start(f"[[zone]]\nname = 'z.test'\n{zone}")
    for number, value in enumerate(SVCB_GOOD):
        answer = server.ask(f"r{number}.z.test.", "SVCB").message.answer[0]
        expected = dns.rdata.from_text(dns.rdataclass.IN, "SVCB", value.replace("\n", " "))
        assert answer[0].to_digestable() == expected.to_digestable(), value
        shown = records(server, f"r{number}.z.test", "SVCB")[0]["value"]
        assert wire("SVCB", shown) == expected.to_wire(origin=dns.name.root), shown
        if shutil.which("kdig"):
            out = subprocess.run(
                ["kdig", "@127.0.0.1", "-p", str(server.port), f"r{number}.z.test", "SVCB", "+short"],
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            ).stdout
            assert wire("SVCB", out.strip()) == expected.to_wire(origin=dns.name.root), out


def test_service_parameters_that_are_wrong_are_refused(tmp_path):
    for value in SVCB_BAD:
        with pytest.raises((dns.exception.SyntaxError, ValueError)):
            dns.rdata.from_text(dns.rdataclass.IN, "SVCB", value)
        file = tmp_path / "bad.toml"
        file.write_text(
            f"[upstream]\nservers = []\n[[zone]]\nname = 'z.test'\n"
            f"[[zone.record]]\nname = 'r'\ntype = 'SVCB'\nvalue = '''{value}'''\n"
        )
        code, _, err = pvtzd("--config", file, "check")
        assert code != 0 and "looks like" in err, (value, err)


HOSTILE = "\x1b[2J\x07\x9b31m\u202e\u2066\u200b\u2028\u061c"


def test_nothing_from_an_answer_acts_on_the_terminal(fake):
    """Control characters and bidirectional controls in any record, and in the text of an extended error."""
    octets = HOSTILE.encode()
    label = "".join(f"\\{octet:03}" for octet in octets)
    values = {
        "TXT": f'"{label}"',
        "CNAME": f"{label}.test.",
        "MX": f"10 {label}.test.",
        "SOA": f"{label}.test. {label}.test. 1 2 3 4 5",
        "HINFO": f'"{label}" "{label}"',
        "CAA": f'0 issue "{label}"',
        "NAPTR": f'1 1 "{label}" "{label}" "{label}" {label}.test.',
        "URI": f'1 1 "{label}"',
        "SVCB": f'1 {label}.test. alpn="{label}" key667="{label}"',
    }

    def script(asked):
        answer = asked.response(f"{label}.test. 60 IN {asked.rtype} {values[asked.rtype]}")
        error = dns.edns.EDEOption(22, HOSTILE)
        answer.use_edns(0, options=[error])
        return answer

    upstream = fake(script)
    for rtype in values:
        for words in (["query"], ["--json", "query"]):
            _, out, err = pvtzd(*words, "www.test", rtype, "--server", f"127.0.0.1:{upstream.port}")
            assert out, err
            for char in set(HOSTILE) - set("[2J31m"):
                assert char not in out and char not in err, (rtype, words, out, err)


def test_the_query_log_has_names_and_records_as_text(start, fake, tmp_path):
    """Also of a type that has no name."""
    log = tmp_path / "queries.json"
    upstream = fake(lambda asked: asked.response(r"@ 60 IN TYPE65280 \# 2 0102", authority=[soa()]))
    server = start(
        f'[log]\nqueries = "json"\nfile = "{log}"\n'
        "[[zone]]\nname = 'z.test'\n[[zone.record]]\nname = 'My\\032Printer'\ntype = 'HTTPS'\nvalue = '1 . alpn=h2'\n",
        upstream=[upstream],
    )
    server.ask(r"my\032printer.z.test.", "HTTPS")
    server.ask("www.test.", "TYPE65280")
    server.stop()
    first, second = [json.loads(line) for line in log.read_text().splitlines()]
    assert first["query_name"] == r"my\032printer.z.test"
    assert first["answer_rrset"] == r'my\032printer.z.test 60 IN HTTPS 1 . alpn="h2"'
    assert (second["query_type"], second["answer_rrset"]) == ("TYPE65280", r"www.test 60 IN TYPE65280 \# 2 0102")
