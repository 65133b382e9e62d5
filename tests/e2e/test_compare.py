"""`pvtzd compare`: pvtzd beside other servers, by nothing but the command's output."""

import json
import os
import subprocess

import pytest
from harness import servers
from harness.process import binary, free_port
from test_differential import AGREE, CONFIG, DIFFER, peers  # noqa: F401 (a fixture)

SCRATCH = "scratch.test"

CONTROL = """
[control]
listen = "{listen}"
[[control.access_key]]
id = "key"
secret = "secret"
"""


def at(server):
    return f"{server.where[0]}:{server.where[1]}"


def compare(*words, endpoint=None):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PVTZD")}
    environment |= {"ALIBABA_CLOUD_ACCESS_KEY_ID": "key", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}
    words = ["compare", *map(str, words)] + (["--endpoint", endpoint] if endpoint else [])
    return subprocess.run([binary(), *words], capture_output=True, text=True, timeout=60, env=environment, check=False)


def scratch_zones(**settings):
    """The scratch zones as a configuration, from what the command prints."""
    printed = json.loads(compare("--scratch", SCRATCH, "--json").stdout)
    text = ""
    for zone in sorted({record["zone"] for record in printed}):
        proxy = "true" if zone.startswith("proxy.") else "false"
        text += f'[[zone]]\nname = "{zone}"\nrecursion_proxy = {proxy}\n'
        text += "".join(f'{key} = "{value}"\n' for key, value in settings.items())
        for record in printed:
            if record["zone"] == zone:
                text += f'[[zone.record]]\nname = "{record["rr"]}"\ntype = "{record["type"]}"\n'
                text += f'value = "{record["value"]}"\nttl = {record["ttl"]}\n'
    return text


def test_bind_with_a_policy_gives_the_list_of_differences(start, authority, peers):  # noqa: F811
    ours = start(CONFIG, upstream=[authority])
    names = [f"{row[0]}/{row[1]}" for row in (*AGREE, *DIFFER)]
    done = compare("--with", peers["bind"].address, "--server", at(ours), "--json", *names)
    assert done.returncode == 1, done.stderr
    questions = json.loads(done.stdout)["questions"]
    of_data = {"code", "chain"}
    differing = {(row["name"], row["type"]) for row in questions if of_data & set(row["differences"])}
    assert differing == {(name, rtype) for name, rtype, _, who, _ in DIFFER if "bind" in who}
    own = next(row for row in questions if (row["name"], row["type"]) == ("own.test", "A"))
    assert own["differences"] == ["aa"], "a policy does not claim authority"


def test_two_that_answer_alike_end_with_0(start, authority):
    one, two = start(CONFIG, upstream=[authority]), start(CONFIG, upstream=[authority])
    done = compare("--with", at(two), "--server", at(one), "own.test", "lead.test", "none.private.example/SRV")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "5 queries" in done.stderr
    assert "0 different answers" in done.stderr


@pytest.mark.parametrize("missing", ["nodata", "forward"])
@pytest.mark.parametrize("wildcards", ["always", "off-with-proxy"])
def test_the_scratch_zones_name_the_switches(start, authority, missing, wildcards):
    server = start(scratch_zones(on_missing_type=missing, wildcards=wildcards), upstream=[authority])
    done = compare("--scratch", SCRATCH, "--with", at(server), "--json")
    points = json.loads(done.stdout)["points"]
    found = {setting for point in points for setting in point["settings"]}
    assert {f'on_missing_type = "{missing}"', f'wildcards = "{wildcards}"'} <= found
    assert {point["verdict"] for point in points} == {"same", "switch"}, points
    others = {'on_missing_type = "nodata"', 'on_missing_type = "forward"'} - {f'on_missing_type = "{missing}"'}
    assert not others & found


def test_an_authority_without_a_proxy_is_another_reading(tmp_path):
    """nsd serves the same records: it has no recursion proxy, and says so point by point."""
    printed = json.loads(compare("--scratch", SCRATCH, "--json").stdout)
    zones = {zone: "" for zone in sorted({record["zone"] for record in printed}, key=len)}
    for record in printed:
        value = record["value"] + ("." if record["type"] == "CNAME" else "")
        zones[record["zone"]] += f"{record['rr']} 60 IN {record['type']} {value}\n"
    with_nsd = servers.nsd(tmp_path, zones)
    try:
        done = compare("--scratch", SCRATCH, "--with", with_nsd.address, "--json")
    finally:
        with_nsd.kill()
    assert done.returncode == 1, done.stderr
    verdicts = {(point["name"], point["type"]): point["verdict"] for point in json.loads(done.stdout)["points"]}
    assert verdicts[f"here.zone.{SCRATCH}", "A"] == "same"
    assert verdicts[f"two.zone.{SCRATCH}", "A"] == "same"
    assert verdicts[f"none.proxy.{SCRATCH}", "A"] == "other"


def test_apply_makes_the_zones_and_removes_them(start, authority):
    listen = f"127.0.0.1:{free_port('127.0.0.1')}"
    vpc = '[[vpc]]\nid = "vpc-a"\nregion = "cn-hangzhou"\nclients = ["127.0.0.0/8"]\n'
    server = start(vpc + CONTROL.format(listen=listen), upstream=[authority])
    apply = ("--scratch", SCRATCH, "--with", at(server), "--apply", "--vpc")
    done = compare(*apply, "vpc-none@cn-hangzhou", endpoint=listen)
    assert (done.returncode, done.stdout) == (1, ""), "no such VPC"
    done = compare(*apply, "vpc-a@cn-hangzhou", endpoint=listen)
    assert 'on_missing_type = "nodata"' in done.stdout, done.stdout + done.stderr
    assert 'wildcards = "always"' in done.stdout
    assert "no setting matches" not in done.stdout
    listed = subprocess.run(
        [binary(), "zone", "list", "--endpoint", listen, "--json"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env=os.environ | {"ALIBABA_CLOUD_ACCESS_KEY_ID": "key", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"},
    )
    assert json.loads(listed.stdout) == []


def test_what_cannot_be_compared_is_told(start):
    server = start()
    silent = f"127.0.0.1:{free_port('127.0.0.1')}"
    assert compare("--with", silent, "--server", at(server), "localhost/A").returncode == 4
    assert compare("--with", at(server)).returncode == 2
    assert compare("--with", at(server), "--recipe", "mars-1").returncode == 2
    assert compare("--with", "tls://192.0.2.1", "a.test").returncode == 2
    assert compare("--scratch", "not a zone'", "--with", at(server)).returncode == 2
    assert compare("--scratch", SCRATCH, "--with", at(server), "--apply", "--vpc", "vpc-a", endpoint=silent).returncode == 4
