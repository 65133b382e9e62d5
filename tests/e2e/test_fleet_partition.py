"""A network that is cut between the members of etcd, in namespaces of its own."""

import pytest
from harness import api
from harness.etcd import binary
from harness.wait import until
from test_fleet import answers, etcd, node, status, values  # noqa: F401
from test_fleet_days import add

pytestmark = pytest.mark.skipif(not binary(), reason="no etcd: apt-get install etcd-server etcd-client")


def test_a_cut_between_two_members_and_one(etcd, node, namespaces):  # noqa: F811
    """The one has no majority: its API node tells of no success. What watched there goes to another member."""
    many, one = namespaces(), namespaces()
    many.join(one)
    cluster = etcd(places=[(many, "10.99.0.1"), (many, "10.99.0.1"), (one, "10.99.0.2")])
    lonely = cluster.members[2]

    class Only:
        section = staticmethod(lambda name, more="": cluster.section(name, more, [lonely]))

    with many.inside():
        writer = node(cluster, "w", writes=True, prefix=many.prefix)
        zone = api.Api(writer).zone("a.example", vpcs=["vpc-one"], records=[("www", "A", "10.0.0.1")])
    far = node(Only, "far", writes=True, prefix=one.prefix)
    near = []
    for number in range(12):
        near.append(node(cluster, f"s{number}", prefix=many.prefix))
        with many.inside():
            answers(near[-1], "www.a.example", ["10.0.0.1"], 30)
        found = many.run("ss", "-Htnp", "dst", f"{lonely.host}:{lonely.client}").stdout
        if f"pid={near[-1].pid}," in found:
            break
    else:
        raise AssertionError("none is at the member that is cut off")
    many.run("ip", "link", "set", "eth0", "down")
    with one.inside():
        assert values(far, "www.a.example") == ["10.0.0.1"]
        code, reply = api.Api(far, patience=60).attempt("AddZoneRecord", ZoneId=zone, Rr="far", Type="A", Value="10.0.0.2")
        assert (code, reply["Code"]) == (503, "ServiceUnavailable"), reply
        assert values(far, "www.a.example") == ["10.0.0.1"]
        assert values(far, "far.a.example") == []
    with many.inside():
        add(writer, zone, "more")
        for server in near:
            answers(server, "more.a.example", ["10.0.0.9"], 60)
            assert values(server, "far.a.example") == []
    with one.inside():
        assert values(far, "more.a.example") == []
        until(lambda: status(far)["fleet"]["state"] == "away", "it is said", 60)
    many.run("ip", "link", "set", "eth0", "up")
    with one.inside():
        answers(far, "more.a.example", ["10.0.0.9"], 60)
        add(far, zone, "healed")
    with many.inside():
        answers(near[0], "healed.a.example", ["10.0.0.9"], 60)
        # what was refused may have been made only by a retry of the caller: there is none
        assert values(near[0], "far.a.example") == []
