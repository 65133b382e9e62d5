"""The public DNS as the tests have it: zones for the authority."""

# The regions for which the recipe is documented, and the address of each one's gateway.
POPUNIFY = {
    "cn-beijing": "100.100.1.1",
    "cn-hangzhou": "100.100.1.2",
    "cn-shanghai": "100.100.1.3",
    "cn-shenzhen": "100.100.1.4",
    "cn-huhehaote": "100.100.1.5",
    "cn-zhangjiakou": "100.100.1.6",
    "cn-hongkong": "100.100.1.7",
    "ap-southeast-1": "100.100.1.8",
    "eu-central-1": "100.100.1.9",
}

# A region without the documented gateway.
OTHER_REGION = "us-west-1"

REGIONS = [*POPUNIFY, OTHER_REGION]


def _aliyuncs():
    lines = []
    for number, region in enumerate(REGIONS, 1):
        lines += [
            f"popunify-vpc.{region} 120 IN A 100.100.1.{number}",
            f"popunify-vpc.{region} 120 IN AAAA 2001:db8:100::{number}",
            f"ecs.{region} 120 IN A 203.0.113.{number}",
            f"sub.ecs.{region} 120 IN A 203.0.113.{100 + number}",
            f"ecs-vpc.{region} 120 IN A 100.100.2.{number}",
            f"sts.{region} 120 IN A 203.0.113.{50 + number}",
            f"sts-vpc.{region} 120 IN A 100.100.3.{number}",
        ]
    lines += [
        "ecs-cn-hangzhou 120 IN A 203.0.113.200",
        "ecs 120 IN A 203.0.113.201",
        "oss 120 IN A 203.0.113.202",
        'oss 120 IN TXT "public"',
        "bucket.oss-cn-hangzhou 120 IN A 203.0.113.203",
        "oss-cn-hangzhou-internal 120 IN A 100.100.4.1",
        "ram 120 IN A 203.0.113.204",
        "ram.vpc-proxy 120 IN A 100.100.5.1",
        # a public name that leads to a name which is private in the recipe
        "api 120 IN CNAME ecs.cn-hangzhou.aliyuncs.com.",
    ]
    return "\n".join(lines) + "\n"


_BIG = "\n".join(f"big 60 IN A 198.18.{n // 250}.{n % 250 + 1}" for n in range(100))

ZONES = {
    ".": "aliyuncs.com 300 IN NS ns.lab.\ntest 300 IN NS ns.lab.\nexample 300 IN NS ns.lab.\n"
    "ns.lab 300 IN A 127.0.53.1\n",
    "aliyuncs.com": _aliyuncs(),
    "test": f"""
www 300 IN A 192.0.2.80
www 300 IN AAAA 2001:db8::80
short 5 IN A 192.0.2.81
multi 300 IN A 192.0.2.1
multi 300 IN A 192.0.2.2
multi 300 IN A 192.0.2.3
alias 300 IN CNAME www.test.
alias2 200 IN CNAME alias.test.
dangling 300 IN CNAME gone.test.
away 300 IN CNAME www.example.
MiXeD 300 IN A 192.0.2.82
text 300 IN TXT "one" "two"
mail 300 IN MX 10 mx.test.
mx 300 IN A 192.0.2.25
_sip._udp 300 IN SRV 1 2 5060 www.test.
a.b.ent 300 IN A 192.0.2.90
*.wild 300 IN A 192.0.2.91
*.wild 300 IN TXT "wild"
x.wild 300 IN A 192.0.2.92
*.cwild 300 IN CNAME www.test.
chain1 300 IN CNAME chain2.test.
chain2 300 IN CNAME chain3.test.
chain3 300 IN CNAME chain4.test.
chain4 300 IN A 192.0.2.93
loop1 300 IN CNAME loop2.test.
loop2 300 IN CNAME loop1.test.
in 300 IN CNAME inner.private.example.
back 300 IN CNAME host.private.example.
caa 300 IN CAA 0 issue "ca.test"
https 300 IN HTTPS 1 . alpn=h2
{_BIG}
""",
    "example": "www 300 IN A 192.0.2.100\nprivate 300 IN A 192.0.2.101\n"
    "host.private 300 IN A 192.0.2.102\npublic.private 300 IN A 192.0.2.103\n"
    "inner.private 300 IN A 192.0.2.104\n",
}
