"""VPCs of the lab: made, bound, told apart by where a client asks from, and deleted in order only."""

import subprocess

import pytest
from harness import api as signing
from harness.api import Api, Refused
from harness.ask import ask
from harness.process import binary
from test_lab import RunningLab, environment

NAME = "www.corp.example"
REGION = "cn-hangzhou"
VPC, ECS = "2016-04-28", "2014-05-26"


@pytest.fixture
def lab(tmp_path):
    running = []

    def start(*words):
        running.append(RunningLab(tmp_path / "state", *words))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.communicate()


class Client(Api):
    """Calls actions of several products, as the CLI does: signed by HMAC-SHA1, all in the query of a POST."""

    def __init__(self, said):
        host, port = said["api"].removeprefix("http://").rsplit(":", 1)
        super().__init__((host, int(port)), said["access_key_id"], said["access_key_secret"])

    def of(self, version, action, **params):
        status, reply = self.send(*signing.v1(self, action, signing.flattened(params), "POST", "query", Version=version))
        if status != 200:
            raise Refused(status, reply)
        return reply

    def refused(self, version, action, **params):
        with pytest.raises(Refused) as caught:
            self.of(version, action, **params)
        return caught.value.status, caught.value.code


def addresses(server, source, name=NAME):
    return ask(server, name, "A", source=source).addresses


def test_from_an_empty_account_to_a_name_in_one_vpc_and_back(lab):
    one = lab()
    client = Client(one.said)
    vpc = client.of(VPC, "CreateVpc", RegionId=REGION, VpcName="mine", CidrBlock="10.1.0.0/16")["VpcId"]
    other = client.of(VPC, "CreateVpc", RegionId=REGION, CidrBlock="10.1.0.0/16")["VpcId"]
    shown = {each["VpcId"]: each for each in client.of(VPC, "DescribeVpcs", RegionId=REGION)["Vpcs"]["Vpc"]}
    assert set(shown) == {"vpc-lab", "vpc-other", vpc, other}
    source, elsewhere = (shown[each]["PvtzdClients"].replace(".0.0/16", ".0.1") for each in (vpc, other))
    zone = client.of("2018-01-01", "AddZone", ZoneName="corp.example")["ZoneId"]
    record = client.of("2018-01-01", "AddZoneRecord", ZoneId=zone, Rr="www", Type="A", Value="10.1.2.3")["RecordId"]
    client.of("2018-01-01", "BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": vpc, "RegionId": REGION}])
    assert addresses(one.dns, source) == ["10.1.2.3"]
    for stranger in (elsewhere, "127.0.0.1", "127.2.0.1"):
        assert addresses(one.dns, stranger) == []
    vswitch = client.of(VPC, "CreateVSwitch", RegionId=REGION, VpcId=vpc, ZoneId="cn-hangzhou-h", CidrBlock="10.1.1.0/24")
    group = client.of(ECS, "CreateSecurityGroup", RegionId=REGION, VpcId=vpc)

    # out of order
    assert client.refused(VPC, "DeleteVpc", VpcId=vpc) == (400, "DependencyViolation.VSwitch")
    client.of(VPC, "DeleteVSwitch", VSwitchId=vswitch["VSwitchId"])
    assert client.refused(VPC, "DeleteVpc", VpcId=vpc) == (400, "DependencyViolation.SecurityGroup")
    client.of(ECS, "DeleteSecurityGroup", RegionId=REGION, SecurityGroupId=group["SecurityGroupId"])
    assert client.refused(VPC, "DeleteVpc", VpcId=vpc) == (400, "DependencyViolation.PrivateZone")
    assert client.refused("2018-01-01", "DeleteZone", ZoneId=zone) == (400, "Zone.VpcExists")
    assert addresses(one.dns, source) == ["10.1.2.3"], "a refusal changes nothing"

    # in order
    client.of("2018-01-01", "BindZoneVpc", ZoneId=zone)
    client.of(VPC, "DeleteVpc", VpcId=vpc)
    client.of("2018-01-01", "DeleteZoneRecord", RecordId=record)
    client.of("2018-01-01", "DeleteZone", ZoneId=zone)
    client.of(VPC, "DeleteVpc", VpcId=other)
    assert client.refused(VPC, "DeleteVpc", VpcId=vpc) == (404, "InvalidVpcID.NotFound")
    gone = [{"VpcId": vpc, "RegionId": REGION}]
    zone = client.of("2018-01-01", "AddZone", ZoneName="corp.example")["ZoneId"]
    assert client.refused("2018-01-01", "BindZoneVpc", ZoneId=zone, Vpcs=gone)[1] == "ZoneVpc.NotExists.VpcId"


@pytest.mark.parametrize(("block", "code"), [("10.0.0.0/33", "Malformed"), ("8.8.8.0/24", "Malformed"),
                                             ("172.0.0.0/8", "Malformed"), ("100.64.0.0/10", "Malformed")])
def test_blocks_that_no_vpc_has_are_refused(lab, block, code):
    client = Client(lab().said)
    refused = client.refused(VPC, "CreateVpc", RegionId=REGION, CidrBlock=block)
    assert refused == (400, f"InvalidCidrBlock.{code}")
    assert client.of(VPC, "DescribeVpcs", RegionId=REGION)["TotalCount"] == 2, "nothing half done"


def test_requests_in_xml_are_answered_in_xml(lab):
    client = Client(lab().said)
    signed = signing.v1(client, "DescribeVpcs", {"RegionId": REGION}, "POST", "query", Version=VPC, Format="XML")
    assert client.exchange(*signed)[2].startswith(b"<?xml")


def test_an_action_that_is_not_there_names_its_product(lab):
    client = Client(lab().said)
    for version, product in ((VPC, "Vpc"), (ECS, "Ecs"), ("2015-01-09", "Alidns"), ("2018-01-01", "pvtz")):
        with pytest.raises(Refused) as caught:
            client.of(version, "MakeCoffee")
        assert caught.value.code == "InvalidAction.NotFound" and f"{product} {version}" in caught.value.message


def test_what_was_made_is_kept_and_can_be_entered(lab, tmp_path):
    kept = tmp_path / "kept"
    one = lab("--state-dir", kept)
    client = Client(one.said)
    vpc = client.of(VPC, "CreateVpc", RegionId=REGION)["VpcId"]
    client.of("2018-01-01", "BindZoneVpc", ZoneId=client.zone("corp.example", records=[("www", "A", "10.1.2.3")]),
              Vpcs=[{"VpcId": vpc, "RegionId": REGION}])
    words = [binary(), "lab", "exec", "--state-dir", kept, "--vpc", vpc, "--"]
    command = ["sh", "-c", f"getent hosts {NAME}; getent hosts ip-172-16-0-10.{REGION}.ecs.internal 172.16.0.10"]
    run = lambda: subprocess.run([*map(str, words), *command], capture_output=True, text=True, check=False, timeout=60,
                                 env=environment(tmp_path / "state"))
    busy = run()
    assert busy.returncode != 0 and "in use" in busy.stderr
    one.stop()
    done = run()
    if "this machine does not allow namespaces" in done.stderr:
        pytest.skip("no namespaces here")
    assert done.stdout.splitlines()[0].split() == ["10.1.2.3", NAME], done.stderr
    assert done.stdout.count("ip-172-16-0-10") == 2
    again = lab("--state-dir", kept)
    assert vpc in {each["id"] for each in again.said["vpcs"]}
    client = Client(again.said)
    assert client.refused(VPC, "DeleteVpc", VpcId=vpc)[1] == "DependencyViolation.PrivateZone"


def test_the_private_names_of_the_instance_and_their_reverse(tmp_path):
    job = tmp_path / "job.sh"
    job.write_text(f"""
dig +short ip-172-16-0-10.{REGION}.ecs.internal
dig +short @100.100.2.136 -x 172.16.0.10
dig +short i-pvtzdlab000000000000.{REGION}.ecs.internal
""")
    done = subprocess.run([str(binary()), "lab", "exec", "--", "sh", str(job)], capture_output=True, text=True,
                          check=False, timeout=60, env=environment(tmp_path / "state"))
    if "this machine does not allow namespaces" in done.stderr:
        pytest.skip("no namespaces here")
    assert done.stdout.split() == ["172.16.0.10", f"ip-172-16-0-10.{REGION}.ecs.internal.", "172.16.0.10"], done.stderr


def within(tmp_path, kept, vpc, *command):
    """Runs a command by `lab exec --vpc`, with the state of a lab that has ended."""
    words = [binary(), "lab", "exec", "--quiet", "--state-dir", kept, "--vpc", vpc, "--", *command]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=60,
                          env=environment(tmp_path / "state"))
    if "this machine does not allow namespaces" in done.stderr:
        pytest.skip("no namespaces here")
    return done


def test_the_cli_alone_takes_an_empty_account_to_a_name_on_an_instance_of_one_vpc_and_back(lab, tmp_path):
    kept = tmp_path / "kept"
    one = lab("--state-dir", kept)
    client = Client(one.said)
    assert client.of("2018-01-01", "DescribeZones")["TotalItems"] == 0, "the account is empty"
    vpc, other = [client.of(VPC, "CreateVpc", RegionId=REGION, CidrBlock="10.1.0.0/16")["VpcId"] for _ in range(2)]
    shown = {each["VpcId"]: each for each in client.of(VPC, "DescribeVpcs", RegionId=REGION)["Vpcs"]["Vpc"]}
    there = shown[other]["PvtzdClients"].replace(".0.0/16", ".0.1")
    zone = client.of("2018-01-01", "AddZone", ZoneName="corp.example")["ZoneId"]
    record = client.of("2018-01-01", "AddZoneRecord", ZoneId=zone, Rr="www", Type="A", Value="10.1.2.3")["RecordId"]
    client.of("2018-01-01", "BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": vpc, "RegionId": REGION}])
    assert one.stop() == 0

    assert within(tmp_path, kept, vpc, "getent", "hosts", NAME).stdout.split() == ["10.1.2.3", NAME]
    for stranger in (other, "vpc-lab"):
        done = within(tmp_path, kept, stranger, "getent", "hosts", NAME)
        assert (done.returncode, done.stdout) == (2, ""), stranger
    # on one instance: its private names, which another VPC's client does not see, nor the zone
    private = f"ip-172-16-0-10.{REGION}.ecs.internal"
    script = '''for name in "$@"; do for from in 127.0.0.1 %s; do
        echo "$name $(dig +short @127.0.0.1 -b $from $name) $(dig +short @127.0.0.1 -b $from -x 172.16.0.10)"
    done; done''' % there
    done = within(tmp_path, kept, vpc, "sh", "-c", script, "sh", NAME, private)
    assert [line.split() for line in done.stdout.splitlines()] == [
        [NAME, "10.1.2.3", f"{private}."], [NAME], [private, "172.16.0.10", f"{private}."], [private]
    ], done.stderr  # fmt: skip

    two = lab("--state-dir", kept)
    client = Client(two.said)
    assert client.refused(VPC, "DeleteVpc", VpcId=vpc) == (400, "DependencyViolation.PrivateZone")
    assert client.refused("2018-01-01", "DeleteZone", ZoneId=zone) == (400, "Zone.VpcExists")
    client.of("2018-01-01", "BindZoneVpc", ZoneId=zone)
    client.of("2018-01-01", "DeleteZoneRecord", RecordId=record)
    client.of("2018-01-01", "DeleteZone", ZoneId=zone)
    for each in (vpc, other):
        client.of(VPC, "DeleteVpc", VpcId=each)
    assert two.stop() == 0
    done = within(tmp_path, kept, vpc, "getent", "hosts", NAME)
    assert (done.returncode, done.stdout) == (2, ""), "what is gone is gone"
