"""The documented recipe: the API name of a region leads over its gateway inside the VPC."""

import pytest
from harness.ask import dig
from harness.world import OTHER_REGION, POPUNIFY

NINE = pytest.mark.parametrize("region", list(POPUNIFY))


def catalogue(**keys):
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return "[endpoints]\n" + "\n".join(lines) + "\n"


@NINE
def test_each_region_leads_to_its_gateway(start, authority, region):
    server = start(catalogue(), upstream=[authority])
    dug = dig(server.where, f"ecs.{region}.aliyuncs.com")
    assert dug.status == "NOERROR"
    assert dug.answer == [
        f"ecs.{region}.aliyuncs.com. 60 IN CNAME popunify-vpc.{region}.aliyuncs.com.",
        f"popunify-vpc.{region}.aliyuncs.com. 120 IN A {POPUNIFY[region]}",
    ]


@NINE
def test_other_types_follow_the_same_way(start, authority, region):
    server = start(catalogue(), upstream=[authority])
    name, gateway = f"ecs.{region}.aliyuncs.com", f"popunify-vpc.{region}.aliyuncs.com"
    number = list(POPUNIFY).index(region) + 1
    aaaa = server.ask(name, "AAAA")
    assert aaaa.records == [f"{name} CNAME {gateway}", f"{gateway} AAAA 2001:db8:100::{number}"]
    txt = server.ask(name, "TXT")
    assert (txt.rcode, txt.records) == ("NOERROR", [f"{name} CNAME {gateway}"])
    cname = server.ask(name, "CNAME")
    assert (cname.records, cname.ttl) == ([f"{name} CNAME {gateway}"], 60)
    assert "aa" in cname.flags and "ra" in cname.flags


@NINE
def test_names_below_are_resolved_outside(start, authority, region):
    server = start(catalogue(), upstream=[authority])
    number = list(POPUNIFY).index(region) + 1
    assert server.ask(f"sub.ecs.{region}.aliyuncs.com").values == [f"203.0.113.{100 + number}"]
    missing = server.ask(f"missing.ecs.{region}.aliyuncs.com")
    assert (missing.rcode, missing.authority[0].split()[0]) == ("NXDOMAIN", "aliyuncs.com")


def test_names_beside_it_are_resolved_outside(start, authority):
    server = start(catalogue(), upstream=[authority])
    assert server.ask("oss.aliyuncs.com").values == ["203.0.113.202"]
    assert server.ask("sts.cn-hangzhou.aliyuncs.com").values == ["203.0.113.52"]
    assert server.ask("cn-hangzhou.aliyuncs.com").is_nodata


def test_the_hyphen_and_central_names_lead_to_the_home_region(start, authority):
    server = start(catalogue(), upstream=[authority])
    for name in ("ecs-cn-hangzhou.aliyuncs.com", "ecs.aliyuncs.com"):
        answer = server.ask(name)
        assert answer.values == ["popunify-vpc.cn-hangzhou.aliyuncs.com", "100.100.1.2"], name


def test_a_region_without_the_gateway_keeps_its_public_name(start, authority):
    server = start(catalogue(), upstream=[authority])
    assert server.ask(f"ecs.{OTHER_REGION}.aliyuncs.com").values == ["203.0.113.10"]


def test_product_vpc_covers_every_region(start, authority):
    server = start(catalogue(target='"product-vpc"'), upstream=[authority])
    for number, region in enumerate([*POPUNIFY, OTHER_REGION], 1):
        answer = server.ask(f"ecs.{region}.aliyuncs.com")
        assert answer.values == [f"ecs-vpc.{region}.aliyuncs.com", f"100.100.2.{number}"], region


def test_a_list_of_regions_serves_only_those(start, authority):
    server = start(catalogue(regions='["cn-beijing", "cn-hongkong"]'), upstream=[authority])
    assert server.ask("ecs.cn-beijing.aliyuncs.com").values[-1] == "100.100.1.1"
    assert server.ask("ecs.cn-hongkong.aliyuncs.com").values[-1] == "100.100.1.7"
    assert server.ask("ecs.cn-hangzhou.aliyuncs.com").values == ["203.0.113.2"]


def test_products_are_chosen_by_name(start, authority):
    server = start(catalogue(products='["sts", "oss", "ram"]'), upstream=[authority])
    assert server.ask("sts.cn-hangzhou.aliyuncs.com").values[-1] == "100.100.3.2"
    assert server.ask("bucket.oss-cn-hangzhou.aliyuncs.com").values[-1] == "100.100.4.1"
    assert server.ask("ram.aliyuncs.com").values[-1] == "100.100.5.1"
    assert server.ask("ecs.cn-hangzhou.aliyuncs.com").values == ["203.0.113.2"], "ecs was not chosen"


def test_no_products_no_zones(start, authority):
    server = start(catalogue(products="[]"), upstream=[authority])
    assert "zones=0" in server.log
    assert server.ask("ecs.cn-hangzhou.aliyuncs.com").values == ["203.0.113.2"]


def test_another_ttl_and_letter_case(start, authority):
    server = start(catalogue(ttl=300), upstream=[authority])
    answer = server.ask("EcS.cN-HangZhou.AliyunCS.com")
    assert answer.ttls == [300, 120]
    assert answer.records[0].startswith("EcS.cN-HangZhou.AliyunCS.com CNAME ")


def test_over_a_recursive_resolver_and_over_tcp(start, recursive):
    server = start(catalogue(), upstream=[recursive])
    dug = dig(server.where, "+tcp", "ecs.cn-hangzhou.aliyuncs.com", "A")
    assert [line.split()[-1] for line in dug.answer] == ["popunify-vpc.cn-hangzhou.aliyuncs.com.", "100.100.1.2"]


def test_a_zone_of_the_file_takes_the_catalogues_place(start, authority):
    text = """
        [[zone]]
        name = "ecs.cn-hangzhou.aliyuncs.com"
        recursion_proxy = true
        [[zone.record]]
        name = "@"
        type = "A"
        value = "10.9.9.9"
    """
    server = start(text, upstream=[authority])
    assert server.ask("ecs.cn-hangzhou.aliyuncs.com").values == ["10.9.9.9"]
    assert server.ask("ecs.cn-beijing.aliyuncs.com").values[-1] == "100.100.1.1"


def test_without_any_upstream_private_names_answer_and_the_rest_fails_at_once(start):
    text = """
        [[zone]]
        name = "lab.example"
        [[zone.record]]
        name = "www"
        type = "A"
        value = "10.0.0.1"
    """
    server = start(text)
    assert server.ask("www.lab.example").values == ["10.0.0.1"]
    assert server.ask("ecs.cn-hangzhou.aliyuncs.com", "CNAME").rcode == "NOERROR"
    for name in ("www.test", "ecs.cn-hangzhou.aliyuncs.com"):
        failed = server.ask(name)
        assert failed.rcode == "SERVFAIL" and failed.elapsed < 1
        assert failed.records == [], "no half chain"
        assert 22 in failed.ede and "no upstream" in failed.ede_text, failed
