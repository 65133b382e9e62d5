"""`pvtzd import` of zone files, hosts files and what the product's API prints; the summary of many changes."""

import json
import subprocess

import pytest
from harness.process import binary

CONFIG = """
[control]
listen = "127.0.0.1:{port}"
[[control.access_key]]
id = "a"
secret = "b"
[[vpc]]
id = "vpc-1"
region = "cn-hangzhou"
clients = ["127.0.0.0/8"]
"""


@pytest.fixture
def server(start, free_port):
    return start(CONFIG.format(port=free_port()))


@pytest.fixture
def pvtzd(server, tmp_path):
    """Runs a command in a folder of files, with the configuration of the server."""

    def run(*words, code=0):
        done = subprocess.run(
            [binary(), *words, "--config", server.config_file], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def free_port():
    from harness.process import free_port as find

    return lambda: find("127.0.0.1")


def bind(pvtzd, *zones):
    for zone in zones:
        pvtzd("zone", "bind", zone, "vpc-1@cn-hangzhou")


def test_a_zone_file(server, pvtzd, tmp_path):
    (tmp_path / "corp.example.zone").write_text("$TTL 60\n@ SOA ns admin 1 2 3 4 5\n@ MX 10 mail\nwww A 192.0.2.1\nold CAA 0 issue x\n")
    done = pvtzd("import", "corp.example.zone")
    assert "omitted 1 record of type CAA" in done.stderr and "1 zone, 2 records added" in done.stderr
    bind(pvtzd, "corp.example")
    assert server.ask("www.corp.example").values == ["192.0.2.1"]
    assert server.ask("corp.example", "MX").values == ["10 mail.corp.example"]
    (tmp_path / "bad.zone").write_text("www A 192.0.2.1\nx A y\n")
    assert "bad.zone:2: " in pvtzd("import", "bad.zone", "--zone", "corp.example", code=1).stderr


def test_files_in_an_older_encoding_and_a_record_twice(server, pvtzd, tmp_path):
    (tmp_path / "corp.example.zone").write_bytes(b"; \xe4lter\nwww 1H A 192.0.2.1\nwww A 192.0.2.1\nt TXT \"caf\xe9\"\n")
    assert "line 3: the same record is on line 2 already" in pvtzd("import", "corp.example.zone").stderr
    bind(pvtzd, "corp.example")
    assert server.ask("t.corp.example", "TXT").values == ['"caf\\233"']
    (tmp_path / "hosts").write_bytes(b"192.0.2.9 db.corp.example # \xe4lter\n")
    pvtzd("import", "hosts")
    assert server.ask("db.corp.example").values == ["192.0.2.9"]
    (tmp_path / "bad.toml").write_bytes(b"# \xe4\n")
    assert "is not UTF-8" in pvtzd("import", "bad.toml", code=1).stderr


def test_a_hosts_file(server, pvtzd, tmp_path):
    (tmp_path / "hosts").write_text("192.0.2.7 db.corp.example db\n2001:db8::7 db.corp.example\n")
    pvtzd("import", "hosts")
    bind(pvtzd, "corp.example")
    assert server.ask("db.corp.example").values == ["192.0.2.7"]
    assert server.ask("db.corp.example", "AAAA").values == ["2001:db8::7"]
    assert server.ask("other.corp.example").rcode == "SERVFAIL", "it goes on to the upstreams, of which there are none"


def test_what_the_real_service_prints(server, pvtzd, tmp_path):
    zone = {"ZoneId": "z", "ZoneName": "a.example", "ProxyPattern": "ZONE", "RecordCount": 3, "ZoneType": "AUTH_ZONE"}
    info = {**zone, "BindVpcs": {"Vpc": [{"VpcId": "vpc-1", "RegionId": "cn-hangzhou", "VpcType": "STANDARD"}]}}
    records = [
        {"RecordId": n, "ZoneId": "z", "Rr": f"r{n}", "Type": "A", "Value": f"10.0.0.{n}", "Ttl": 60, "Priority": 1, "Weight": 1,
         "Line": "default", "Status": "ENABLE"}
        for n in (1, 2, 3)
    ]
    (tmp_path / "zones.json").write_text(json.dumps({"TotalItems": 1, "Zones": {"Zone": [zone]}}) + json.dumps(info))
    (tmp_path / "page1.json").write_text(json.dumps({"Records": {"Record": records[:2]}}))
    (tmp_path / "page2.json").write_text(json.dumps({"Records": {"Record": records[2:]}}))
    assert "pages of DescribeZoneRecords are missing" in pvtzd("import", "zones.json", "page1.json", code=1).stderr
    pvtzd("import", "zones.json", "page1.json", "page2.json")
    assert server.ask("r3.a.example").values == ["10.0.0.3"]


def test_a_document_that_one_request_does_not_hold_is_imported_in_parts(server, pvtzd, tmp_path):
    count, text = 36_000, "x" * 240
    records = "".join(f'r{n} TXT "{n}" "{text}" "{text}"\n' for n in range(count))
    (tmp_path / "long.example.zone").write_text("first A 10.0.0.1\n" + records)
    done = pvtzd("import", "long.example.zone", "--replace", code=1)
    assert "too long for --replace" in done.stderr and "without --replace" in done.stderr
    told = f"zone long.example: {count + 1} records added\n"
    dry = pvtzd("import", "long.example.zone", "--dry-run")
    assert dry.stdout == told and f"1 zone, {count + 1} records added" in dry.stderr
    done = pvtzd("import", "long.example.zone")
    assert done.stdout == told and f"1 zone, {count + 1} records added" in done.stderr
    bind(pvtzd, "long.example")
    assert server.ask("first.long.example").values == ["10.0.0.1"]
    assert server.ask(f"r{count - 1}.long.example", "TXT").values[0].startswith(f'"{count - 1}"')
    again = json.loads(pvtzd("import", "long.example.zone", "--json").stdout)
    assert again["Added"]["Records"] == again["Changed"]["Records"] == 0
    broken = [{"Rr": f"n{n}", "Type": "TXT", "Value": "x" * 500} for n in range(count)]
    broken[20_000] |= {"Type": "A", "Value": "10.0.0.256"}
    (tmp_path / "broken.json").write_text(json.dumps({"Zones": [{"ZoneName": "broken.example", "Records": broken}]}))
    done = pvtzd("import", "broken.json", code=1)
    assert "part 3 of 5" in done.stderr and "10.0.0.256" in done.stderr and "the parts before it are imported" in done.stderr


def test_many_changes_are_told_by_zone(server, pvtzd, tmp_path):
    records = "".join(f"r{n} A 10.0.{n // 256}.{n % 256}\n" for n in range(60))
    (tmp_path / "a.example.zone").write_text(records)
    done = pvtzd("import", "a.example.zone", "--dry-run")
    assert done.stdout == "zone a.example: 60 records added\n"
    assert pvtzd("import", "a.example.zone", "--dry-run", "--verbose").stdout.count("+ record") == 60
    assert json.loads(pvtzd("import", "a.example.zone", "--json").stdout)["Added"]["Records"] == 60
    (tmp_path / "other.toml").write_text('[[Zones]]\nZoneName = "a.example"\n')
    done = pvtzd("diff", "other.toml", code=1)
    assert "@@ zone a.example: 0 removed, 60 added" in done.stdout and "+ r1 A" not in done.stdout
    assert "+ r1 A 10.0.0.1" in pvtzd("diff", "other.toml", "--verbose", code=1).stdout
    (tmp_path / "few.zone").write_text("$ORIGIN b.example.\nx A 10.0.0.1\n")
    assert "+ record x.b.example A 10.0.0.1" in pvtzd("import", "few.zone").stdout
