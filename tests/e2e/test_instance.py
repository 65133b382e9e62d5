"""An instance whose only nameserver is pvtzd: the documented recipe made through the API, seen by the system's own tools.

The lab's tests go on from here with `DescribeRegions` over HTTPS against the stub of the ECS API.
"""

import json

import pytest
from harness import api, servers, world
from harness.process import Pvtzd

REGION = "cn-hangzhou"
GATEWAY = "100.100.1.2"  # popunify-vpc.cn-hangzhou.aliyuncs.com in harness/world.py
NAMES = (f"ecs.{REGION}.aliyuncs.com", f"ecs-{REGION}.aliyuncs.com")
VPCS = """
[[vpc]]
id = "vpc-inside"
region = "cn-hangzhou"
clients = ["127.0.0.0/8", "100.100.1.2/32"]
[[vpc]]
id = "vpc-beside"
region = "cn-hangzhou"
clients = ["10.99.0.0/24"]
"""


@pytest.fixture
def instance(namespace, tmp_path):
    """A machine with an authority as its outside world, the gateway's address, and pvtzd on port 53."""
    namespace.address(GATEWAY)
    with namespace.inside():
        authority = servers.nsd(tmp_path / "nsd", world.ZONES, host="127.0.53.9", port=5353)
    config = tmp_path / "pvtzd.toml"
    allow = '[server]\nallow = ["127.0.0.0/8", "10.99.0.0/24", "100.100.0.0/16"]\n'
    config.write_text(allow + api.control() + VPCS + '\n[upstream]\nservers = ["127.0.53.9:5353"]\n')
    server = Pvtzd(config, listen=("0.0.0.0:53",), prefix=namespace.prefix)
    yield namespace, server
    server.kill()
    authority.kill()


def call(machine, server, action, **params):
    """The API, called by curl inside the machine."""
    caller = api.Api(api.address_of(server))
    method, target, headers, _ = api.v1(caller, action, api.flattened(params))
    words = ["curl", "-sS", "--noproxy", "*", "-X", method, f"http://{caller.host}{target}", "-H", f"host: {headers['host']}"]
    reply = json.loads(machine.run(*words).stdout)
    api.check(action, reply)
    return reply


def addresses(machine, name):
    """What a program on the machine gets: through the C library and its resolv.conf."""
    done = machine.run("getent", "ahostsv4", name, check=False)
    return sorted({line.split()[0] for line in done.stdout.splitlines()})


def test_the_recipe_on_an_instance(instance, namespaces):
    machine, server = instance
    for name in NAMES:
        assert addresses(machine, name)[0].startswith("203.0.113."), "public, before the recipe"
    zones = []
    for name in NAMES:
        zone = call(machine, server, "AddZone", ZoneName=name, ProxyPattern="RECORD")["ZoneId"]
        record = {"Rr": "@", "Type": "CNAME", "Value": f"popunify-vpc.{REGION}.aliyuncs.com", "Ttl": 60}
        call(machine, server, "AddZoneRecord", ZoneId=zone, **record)
        call(machine, server, "BindZoneVpc", ZoneId=zone, Vpcs=[{"VpcId": "vpc-inside", "RegionId": REGION}])
        zones.append(zone)
    for name in NAMES:
        assert addresses(machine, name) == [GATEWAY]
        assert f"({GATEWAY})" in machine.run("ping", "-4", "-c1", "-W2", name).stdout
    assert addresses(machine, f"sub.{NAMES[0]}") == ["203.0.113.102"], "the recursion proxy"

    # Another machine, whose address is in another VPC, asks the same server: the public answer.
    other = namespaces()
    machine.join(other)
    other.resolv_conf.write_text("nameserver 10.99.0.1\n")
    for name in NAMES:
        assert addresses(other, name)[0].startswith("203.0.113.")
    both = [{"VpcId": "vpc-inside"}, {"VpcId": "vpc-beside"}]
    call(machine, server, "BindZoneVpc", ZoneId=zones[0], Vpcs=both)
    assert addresses(other, NAMES[0]) == [GATEWAY]

    # Unbinding counts for the very next question.
    for zone, name in zip(zones, NAMES):
        call(machine, server, "BindZoneVpc", ZoneId=zone)
        assert addresses(machine, name)[0].startswith("203.0.113.")
        assert machine.run("ping", "-4", "-c1", "-W1", name, check=False).returncode != 0
        call(machine, server, "DeleteZone", ZoneId=zone)


def test_the_api_is_not_reachable_from_other_machines(instance, namespaces):
    machine, server = instance
    other = namespaces()
    machine.join(other)
    port = api.address_of(server)[1]
    done = other.run("curl", "-sS", "--noproxy", "*", "-m", "5", f"http://10.99.0.1:{port}/", check=False)
    assert done.returncode == 7, done.stderr
