"""Zone files as people write them: what BIND takes, with the same data; and what is refused, by file and line."""

import shutil
import subprocess

import dns.message
import dns.query
import dns.zone
import pytest
from harness.process import binary

HEAD = "$TTL 3600\n@ IN SOA ns1 admin 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.53\n"
KEY = "AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="
DIGEST = "2BB183AF5F22588179A53B0A98631FAD1A292118"
SIGNED = f"20300322173103 20030220173103 2642 ZONE. {KEY}\n"

# Whole zone files. ZONE is the apex.
WHOLE = {
    "SOA with units": "$TTL 1D\n@ IN SOA ns1 admin ( 2024010101 1H 15M 1W 1d )\n NS ns1\nns1 A 192.0.2.1\n",
    "SOA with comments": '$TTL 60\n@ IN SOA ns1 admin (\n\t2024 ; serial ( not )\n\t3600 ; refresh "\n 600;x\n\t86400\n\t60 )\n\tNS ns1\nns1 A 192.0.2.1\n',
    "no TTL": "@ IN SOA ns1 admin 1 3600 600 86400 77\n NS ns1\nns1 A 192.0.2.1\nb 5 A 192.0.2.1\nc A 192.0.2.2\n",
}

# What follows HEAD.
TAKEN = {
    "TTLs with units": "a 1h30m A 192.0.2.1\nb 1W2D3H4M5S A 192.0.2.1\nc IN 1h A 192.0.2.1\nd 1H IN A 192.0.2.1\n",
    "TTL changes": "$TTL 10\na A 192.0.2.1\n$TTL 20 ; more\nb A 192.0.2.1\nc 5 A 192.0.2.1\nd 0 A 192.0.2.1\n",
    "no newline at the end": "a A 192.0.2.1",
    "CRLF": 'a A 192.0.2.1\r\nb TXT "x"\r\nc TXT ( "x"\r\n "y" )\r\n\r\n',
    "tabs": "a\tA\t192.0.2.1\n\tA\t192.0.2.2\n\t\tIN\tA\t192.0.2.3\n\t\n   \t \n  TXT x\n",
    "a record twice": "a A 192.0.2.1\na A 192.0.2.1\nb CNAME C\nb CNAME c\n",
    "the output of a transfer": "a A 192.0.2.1\n@ IN SOA ns1 admin 1 3600 600 86400 60\n",
    "octets that are no UTF-8": '; caf\xe9\na TXT "caf\xe9" "\\\xfc"\ncaf\xe9 A 192.0.2.1\n',
    "texts": 'a TXT "v=DKIM1; k=rsa" "fA0"\nb TXT v=DKIM1\\;k=rsa\nc TXT "x""y"\nd TXT ""\ne TXT "\\065\\000\\255"\nf TXT one two\n'
    f'g TXT "{"x" * 255}"\nh TXT {" ".join(str(number) for number in range(500))}\ni TXT(\n"a"\n "b")\n',
    "escapes": "a\\.b A 192.0.2.1\n\\097\\046c A 192.0.2.1\nm CNAME a\\.b\n\\@ A 192.0.2.1\n\\$x A 192.0.2.1\na$ A 192.0.2.1\n",
    "the origin in data": "a MX 10 @\nb SRV 1 2 3 @\nc CNAME @\nd MX 0 .\n",
    "classes": "a IN 300 A 192.0.2.1\nb 300 IN A 192.0.2.1\nc in a 192.0.2.1\nd CLASS1 A 192.0.2.1\n",
    "origins": "$ORIGIN sub\na A 192.0.2.1\n$ORIGIN sub2.ZONE.\nb A 192.0.2.1\n$ORIGIN @\nc A 192.0.2.1\n$origin deep\nd A 192.0.2.1\n",
    "an owner before an origin": "a A 192.0.2.1\n$ORIGIN sub\n  TXT x\n$ORIGIN .\nZONE A 192.0.2.9\n",
    "owners like types": "A A 192.0.2.1\nIN A 192.0.2.2\nTXT TXT TXT\n300 300 A 192.0.2.3\n1h A 192.0.2.4\n0/25 NS ns1\n",
    "case": "WWW a 192.0.2.1\nMixed CnAmE WWW\nwww TXT x\n",
    "long names": f"{'a' * 63} A 192.0.2.1\n{'.'.join(['a' * 60] * 3)} A 192.0.2.1\n",
    "generic forms": "a TYPE65280 \\# 3 0a0b0c\nb TYPE65281 \\# 0\nc A \\# 4 c0000201\nd TYPE1 192.0.2.1\nf TYPE65280 \\# 4 ( 0a0b\n 0c0d )\n",
    "CAA": 'a CAA 0 issue "ca.example.net; policy=ev"\na CAA 128 iodef "mailto:x@y"\nb CAA 0 issue ";"\nc CAA 0 issue letsencrypt.org\n',
    "SVCB": "a SVCB 1 svc alpn=h2,h3 port=8443 ipv4hint=192.0.2.1,192.0.2.2\na HTTPS 1 . alpn=\"h2,h3\" no-default-alpn\n"
    "b HTTPS 0 svc.example.\nc HTTPS 1 . ech=\"AAAA\" key65333=ex1 mandatory=alpn alpn=h2\nd SVCB 1 . ( alpn=h2 ; c\n port=53 )\n",
    "LOC": "a LOC 51 30 12.748 N 0 7 39.611 W 0.00m 0.00m 0.00m 0.00m\nb LOC 42 21 54 N 71 06 18 W -24m 30m\nc LOC 42 N 71 W 0\n",
    "NAPTR": 'a NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .\nb NAPTR 100 10 "" "" "/urn:cid:.+@([^\\\\.]+\\\\.)(.*)$/\\\\2/i" x\n',
    "keys": f"a SSHFP 4 2 ( dd465c09cfa51fb45020cc83316fff21b9ec74ac\n dd465c09cfa51fb45020cc83 )\n_443._tcp TLSA 3 1 1 {'ab' * 32}\n"
    f"b OPENPGPKEY {KEY}\nc CERT PKIX 65535 RSASHA1 {KEY}\nd CERT PGP 0 0 {KEY}\ne IPSECKEY ( 10 3 2 gw {KEY} )\nf DHCID {KEY}\n",
    "DNSSEC": f"a NS ns1\na DS 60485 RSASHA1 1 ( {DIGEST[:20]}\n {DIGEST[20:]} )\nb DNSKEY 257 3 ECDSAP256SHA256 {KEY}\nc CDS 1 8 2 {'ab' * 32}\n",
    "a signed CNAME": f"a CNAME b\na RRSIG CNAME 8 3 3600 {SIGNED}a NSEC b CNAME RRSIG NSEC\nb A 192.0.2.1\nb RRSIG A RSASHA256 3 3600 {SIGNED}",
    "rare types": 'a HINFO PC Linux\nb RP admin txt\nc AFSDB 1 afs\nd KX 10 kx\ne X25 311061700956\nf EUI48 00-00-5e-00-53-2a\n'
    'g URI 10 1 "ftp://ftp1.example.com/public"\nh SPF "v=spf1 -all"\ni APL 1:192.168.32.0/21 !1:192.168.38.0/28\nj LP 10 x\n',
    "a delegation": "sub NS ns.sub\nns.sub A 192.0.2.7\nns.sub AAAA 2001:db8::7\nd DNAME other.example.\nx.d A 192.0.2.1\n",
    "addresses": "a AAAA ::ffff:192.0.2.1\nb AAAA 2001:DB8:0:0::1\nc AAAA ::\nd AAAA 1::2:3.4.5.6\n",
    "a file": "$INCLUDE more\nb A 192.0.2.2\n",
    "a file with an origin": "z A 192.0.2.9\n$INCLUDE more deep.sub ; why\n  TXT after\n",
    "a file that changes the origin": '$INCLUDE "turned on"\nb A 192.0.2.2\n',
    "a file in a folder, twice": "$INCLUDE folder/inner one\n$INCLUDE folder/inner two\n",
}
FILES = {
    "more": "a A 192.0.2.1\n@ TXT x\n",
    "turned on": "$TTL 77\n$ORIGIN sub\na A 192.0.2.1\n",
    "folder/inner": "$INCLUDE more\ni A 192.0.2.3\n",
}

# What follows HEAD, the line of the message and a part of it.
REFUSED = {
    "a CNAME beside others": ("a CNAME b\na A 192.0.2.1\n", 6, "a CNAME excludes other records"),
    "outside": ("\na.other. A 192.0.2.1\n", 6, "not in zone"),
    "another SOA": ("a A 192.0.2.1\n@ SOA ns1 admin 2 3600 600 86400 60\n", 6, "a second SOA"),
    "$GENERATE": ("$GENERATE 1-4 h$ A 192.0.2.$\n", 5, "$GENERATE is not read"),
    "class": ("a CH TXT x\n", 5, "class CH"),
    "no type": ("a IN 300\n", 5, "without a type"),
    "cut in a string": ('a TXT "x', 5, "closing quote"),
    "cut in parentheses": ("a TXT ( x\nb A 192.0.2.1\n", 5, "closing one"),
    "a long string": (f'a TXT "{"x" * 256}"\n', 5, "255"),
    "a long line": (f'a TXT "{"x" * (10 << 20)}"\n', 5, "262144"),
    "a long name": (f"{'.'.join(['a' * 61] * 4)} A 192.0.2.1\n", 5, "255"),
    "a long label": (f"{'a' * 64} A 192.0.2.1\n", 5, "63"),
    "a circle": ("$INCLUDE zone\n", 5, "includes itself"),
    "a file outside": ("$INCLUDE ../../etc/passwd\n", 5, "cannot read|not in the directory"),
}


def write(folder, text, apex):
    """A folder with a zone file and what it may include."""
    folder.mkdir(parents=True)
    for name, content in {"zone": text, **FILES}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.replace("ZONE", apex).encode("latin-1"))


def read_by_bind(folder, apex):
    """The zone as BIND understands its file."""
    command = ["named-checkzone", "-i", "none", "-k", "ignore", "-s", "full", "-D", "-o", "dump", apex, "zone"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dns.zone.from_file(str(folder / "dump"), origin=apex, relativize=False)


@pytest.mark.skipif(not shutil.which("named-checkzone"), reason="no BIND")
def test_what_bind_takes_is_served_with_the_same_data(start, tmp_path):
    zones, text = {}, ""
    for number, (what, content) in enumerate({**WHOLE, **{what: HEAD + content for what, content in TAKEN.items()}}.items()):
        apex, folder = f"t{number}.test", tmp_path / f"t{number}"
        write(folder, content, apex)
        zones[apex] = (what, read_by_bind(folder, apex))
        text += f'[[zone]]\nname = "{apex}"\nfile = "{folder}/zone"\n'
    server, asked = start(text), 0
    for apex, (what, zone) in zones.items():
        for owner, rdataset in zone.iterate_rdatasets():
            query = dns.message.make_query(owner, rdataset.rdtype)
            reply = dns.query.tcp(query, server.where[0], port=server.port, timeout=5)
            rrset = reply.get_rrset(reply.answer, owner, rdataset.rdclass, rdataset.rdtype, rdataset.covers)
            assert rrset is not None, (what, owner, rdataset)
            assert set(rrset) == set(rdataset) and rrset.ttl == rdataset.ttl, (what, rrset, rdataset)
            asked += 1
        assert server.ask(f"none-such.{apex}").rcode == "NXDOMAIN", what
    assert asked > 200, asked


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_told_by_file_and_line(tmp_path, what):
    content, line, message = REFUSED[what]
    folder = tmp_path / "zones"
    write(folder, HEAD + content, "corp.test")
    config = tmp_path / "pvtzd.toml"
    config.write_text('[upstream]\nservers = []\n[[zone]]\nname = "corp.test"\nfile = "zones/zone"\n')
    done = subprocess.run([binary(), "--config", config, "check"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 78, done.stdout + done.stderr
    assert f"zones/zone:{line}:" in done.stderr and any(part in done.stderr for part in message.split("|")), done.stderr
