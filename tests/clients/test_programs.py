"""Real programs on an instance of the lab, unchanged: they find names, key, CA and credentials as they do there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HERE, ROOT, missing

BUILD = ROOT / "tests/.env/clients"
PROVIDER = "terraform-provider-alicloud"


def program(name):
    found = shutil.which(name)
    return found or missing(name)


def run(command, folder, patience=300, **more):
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False,
                          timeout=patience, stdin=subprocess.DEVNULL, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def go():
    """The Go programs, built: by name."""
    tool = program("go")
    BUILD.mkdir(parents=True, exist_ok=True)
    run([tool, "build", "-o", f"{BUILD}/", "./sdk", "./externaldns"], HERE / "go")
    return lambda name: BUILD / name


@pytest.fixture(scope="module")
def java():
    """The words that start the Java program."""
    tool, maven = program("java"), program("mvn")
    BUILD.mkdir(parents=True, exist_ok=True)
    path, classes = BUILD / "java.path", BUILD / "classes"
    run([maven, "-q", "-B", "dependency:build-classpath", f"-Dmdep.outputFile={path}"], HERE / "java")
    libraries = path.read_text().strip()
    run([program("javac"), "-d", classes, "-cp", libraries, HERE / "java/src/main/java/Clients.java"], HERE)
    return [tool, "-cp", f"{classes}:{libraries}", "Clients"]


def test_go(go, instance, row):
    row("Go: alibaba-cloud-sdk-go", "1.63.107", "AddZone, DescribeZones, DescribeRegions over HTTPS, by name",
        "按域名经 HTTPS 调用 AddZone、DescribeZones、DescribeRegions")
    row("Go: darabonba-openapi", "2.1.13", "AddZone, DescribeRegions, CreateVpc over HTTPS, by name",
        "按域名经 HTTPS 调用 AddZone、DescribeRegions、CreateVpc")
    assert instance(go("sdk")).splitlines() == ["first true 1 true", "second true true true"]


JOB = """
import json, subprocess, sys
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
import os
client = AcsClient(os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"], "cn-hangzhou")
def call(action, **params):
    request = CommonRequest(domain="pvtz.aliyuncs.com", version="2018-01-01", action_name=action)
    request.set_method("POST")
    request.set_protocol_type("https")
    for name, value in params.items():
        request.add_query_param(name.replace("__", "."), value)
    return json.loads(client.do_action_with_exception(request))
zone = call("AddZone", ZoneName="example.internal")["ZoneId"]
call("BindZoneVpc", ZoneId=zone, Vpcs__1__VpcId="vpc-lab", Vpcs__1__RegionId="cn-hangzhou")
print(subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True).stdout)
print(call("DescribeZoneInfo", ZoneId=zone)["RecordCount"])
"""


def external_dns(go, instance, tmp_path, *words):
    job = tmp_path / "job.py"
    job.write_text(JOB)
    told = instance(sys.executable, job, go("externaldns"), *words, words=["--public"])
    return [line.split() for line in told.splitlines() if line.strip()]


def test_external_dns(go, instance, tmp_path, row):
    row("external-dns: provider, plan, TXT registry", "0.22.0", "create, change, a round without changes, delete; credentials of the role; private and public zones",
        "创建、修改、无变化的一轮、删除；使用实例角色的凭证；内网与公网 Zone")
    *rounds, records = external_dns(go, instance, tmp_path)
    public = [list(map(int, rest)) for name, *rest in rounds if name == "public"]
    numbers = {name: list(map(int, rest)) for name, *rest in rounds}
    assert numbers["create"] == [5, 0, 0]
    assert sum(numbers["change"]) > 0 and numbers["change"][0] == 0
    assert numbers["quiet"] == [0, 0, 0]
    assert public == [[0, 0, 0], [5, 0, 0], [4, 0, 0], [4, 0, 0]], "there is no domain to make them in"
    assert numbers["delete"][2] == 4 and records == ["0"]


def test_external_dns_with_a_thousand_endpoints(go, instance, tmp_path, row):
    row("external-dns: provider, plan, TXT registry", "0.22.0", "1,000 endpoints in one round, none in the next",
        "一轮创建 1,000 个端点，下一轮无变化")
    many, again, records = external_dns(go, instance, tmp_path, "1000")
    assert many == ["many", "1000", "0", "0"] and again == ["again", "0", "0", "0"]
    assert int(records[0]) >= 2000, "each with its TXT record"


def test_java(java, instance, row):
    row("Java: aliyun-java-sdk-core", "4.7.10", "DescribeRegions, AddZone over HTTP and HTTPS, by name",
        "按域名经 HTTP 和 HTTPS 调用 DescribeRegions、AddZone")
    row("Java: tea-openapi", "0.3.10", "DescribeRegions, AddZone over HTTP and HTTPS, by name",
        "按域名经 HTTP 和 HTTPS 调用 DescribeRegions、AddZone")
    told = [line.upper().split() for line in instance(*java).splitlines()]
    assert sorted(told) == sorted([one, protocol, "TRUE", "TRUE"] for one in ("FIRST", "SECOND") for protocol in ("HTTP", "HTTPS"))


def test_python(instance, tmp_path, row):
    pytest.importorskip("alibabacloud_pvtz20180101", reason="missing: alibabacloud-pvtz20180101")
    row("Python: alibabacloud-pvtz20180101, -ecs20140526", "1.5.0, 7.11.8", "AddZone, DescribeRegions over HTTPS, by name",
        "按域名经 HTTPS 调用 AddZone、DescribeRegions")
    job = tmp_path / "job.py"
    job.write_text("""
import os
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_ecs20140526.models import DescribeRegionsRequest
from alibabacloud_pvtz20180101.client import Client as Pvtz
from alibabacloud_pvtz20180101.models import AddZoneRequest
from alibabacloud_tea_openapi.models import Config
def config(endpoint):
    return Config(access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], region_id="cn-hangzhou", endpoint=endpoint,
                  access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
zone = Pvtz(config("pvtz.aliyuncs.com")).add_zone(AddZoneRequest(zone_name="python.example")).body.zone_id
regions = Ecs(config("ecs.cn-hangzhou.aliyuncs.com")).describe_regions(DescribeRegionsRequest()).body.regions.region
print(bool(zone), len(regions) > 20)
""")
    assert instance(sys.executable, job).split() == ["True", "True"]


def test_node(instance, tmp_path, row):
    modules = ROOT / "tests/.env/node/node_modules"
    if not (modules / "@alicloud/pop-core").exists():
        missing("@alicloud/pop-core")
    row("Node: @alicloud/pop-core", "1.8.0", "DescribeRegions over HTTPS, by name", "按域名经 HTTPS 调用 DescribeRegions")
    job = tmp_path / "job.cjs"
    job.write_text(f"""
const Core = require({json.dumps(str(modules / "@alicloud/pop-core"))});
const client = new Core({{accessKeyId: process.env.ALIBABA_CLOUD_ACCESS_KEY_ID, apiVersion: '2014-05-26',
  accessKeySecret: process.env.ALIBABA_CLOUD_ACCESS_KEY_SECRET, endpoint: 'https://ecs.cn-hangzhou.aliyuncs.com'}});
client.request('DescribeRegions', {{}}, {{method: 'POST'}}).then(a => console.log(a.Regions.Region.length > 20));
""")
    assert instance(program("node"), job).split() == ["true"]


def test_cloud_init(instance, tmp_path, row):
    unpacked = Path(os.environ.get("CLOUD_INIT", ROOT / "tests/.env/cloud-init"))
    modules = unpacked / "usr/lib/python3/dist-packages/cloudinit"
    if not modules.exists():
        missing("cloud-init")
    version = (modules / "version.py").read_text().split('__VERSION__ = "')[1].split('"')[0]
    row("cloud-init: its AliYun source", version, "meta-data and user data of 2016-01-01", "读取 2016-01-01 版本的元数据和用户数据")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/cloudinit").symlink_to(modules)
    data = tmp_path / "user-data"
    data.write_text("#cloud-config\nhostname: x\n")
    job = tmp_path / "job.py"
    job.write_text("""
from cloudinit.sources.helpers import ec2
root = "http://100.100.100.200"
print(ec2.get_instance_metadata("2016-01-01", root)["instance-id"])
print(ec2.get_instance_userdata("2016-01-01", root).decode().splitlines()[0])
""")
    told = instance(sys.executable, job, words=["--user-data", data], more={"PYTHONPATH": f"{tmp_path / 'modules'}:{os.environ.get('PYTHONPATH', '')}"})
    assert told.split() == ["i-pvtzdlab000000000000", "#cloud-config"]


CLI = """
import json, subprocess, sys
tool = sys.argv[1]
def cli(product, action, *words, code=0, **params):
    given = [word for name, value in params.items() for word in ("--" + name.replace("__", "."), str(value))]
    done = subprocess.run([tool, product, action, "--region", "cn-hangzhou", *given, *words], capture_output=True, text=True)
    assert (done.returncode == 0) == (code == 0), done.stdout + done.stderr
    return json.loads(done.stdout) if code == 0 else code in done.stdout + done.stderr
def names(source):
    return subprocess.run(["dig", "+short", "@127.0.0.1", "-b", source, "www.corp.example"], capture_output=True, text=True).stdout.split()
assert len(cli("ecs", "DescribeRegions")["Regions"]["Region"]) > 20
vpc = cli("vpc", "CreateVpc", RegionId="cn-hangzhou", CidrBlock="10.1.0.0/16")
zone = cli("pvtz", "AddZone", ZoneName="corp.example")["ZoneId"]
record = cli("pvtz", "AddZoneRecord", ZoneId=zone, Rr="www", Type="A", Value="10.1.2.3")["RecordId"]
bind = {"Vpcs__1__RegionId": "cn-hangzhou", "Vpcs__1__VpcId": vpc["VpcId"]}
cli("pvtz", "BindZoneVpc", ZoneId=zone, **bind)
print(names(vpc["PvtzdClients"].replace(".0.0/16", ".0.1")), names("127.0.0.1"))
assert cli("vpc", "DeleteVpc", VpcId=vpc["VpcId"], code="DependencyViolation.PrivateZone")
assert cli("pvtz", "DeleteZone", ZoneId=zone, code="Zone.VpcExists")
cli("pvtz", "BindZoneVpc", ZoneId=zone)
cli("vpc", "DeleteVpc", VpcId=vpc["VpcId"])
cli("pvtz", "DeleteZoneRecord", RecordId=record)
cli("pvtz", "DeleteZone", ZoneId=zone)
print(cli("pvtz", "DescribeZones")["TotalItems"])
role = cli("sts", "AssumeRole", RoleArn="acs:ram::1000000000000000:role/job", RoleSessionName="cli")["Credentials"]
key = ["--mode", "StsToken", "--access-key-id", role["AccessKeyId"], "--access-key-secret", role["AccessKeySecret"], "--sts-token", role["SecurityToken"]]
print(cli("sts", "GetCallerIdentity", *key)["Arn"])
print(cli("sts", "GetCallerIdentity", "--mode", "EcsRamRole", "--ram-role-name", "pvtzd-lab")["Arn"].rsplit("/", 1)[0])
"""


def test_aliyun(instance, tmp_path, row):
    tool = program("aliyun")
    row("aliyun CLI", run([tool, "version"], ROOT).strip(),
        "from CreateVpc and AddZone to a name that answers in that VPC alone, and back; AssumeRole, EcsRamRole; without --endpoint, in `lab exec --public`",
        "在 `lab exec --public` 中不带 --endpoint：从 CreateVpc、AddZone 到只在该 VPC 中应答的域名，再全部删除；AssumeRole、EcsRamRole")
    job = tmp_path / "job.py"
    job.write_text(CLI)
    told = instance(sys.executable, job, tool, words=["--public"], more={"ALIBABA_CLOUD_IGNORE_PROFILE": "TRUE"})
    assumed = "acs:ram::1000000000000000:assumed-role"
    assert told.splitlines() == ["['10.1.2.3'] []", "0", f"{assumed}/job/cli", f"{assumed}/pvtzd-lab"]


def test_ecctl(instance, row):
    tool = program("ecctl")
    row("ecctl", "", "ecs region list, in `lab exec --public`", "在 `lab exec --public` 中执行 ecs region list")
    assert "cn-hangzhou" in instance(tool, "ecs", "region", "list", words=["--public"])


def versions(tool):
    """Terraform's version, and the provider's, which a program that was built from its source does not know."""
    own = json.loads(run([tool, "version", "-json"], ROOT))["terraform_version"]
    return ", ".join(filter(None, [own, os.environ.get("TERRAFORM_ALICLOUD_VERSION")]))


def test_terraform(instance, tmp_path, row):
    tool = program("terraform")
    plugins = os.environ.get("TERRAFORM_ALICLOUD") or shutil.which(PROVIDER) or missing("terraform")
    row("Terraform, provider alicloud", versions(tool), "VPC, zone, record, attachment: apply, a plan without changes, destroy",
        "VPC、Zone、记录、绑定：apply、无变化的 plan、destroy")
    (tmp_path / "main.tf").write_text("""
terraform {
  required_providers {
    alicloud = { source = "aliyun/alicloud" }
  }
}
resource "alicloud_vpc" "a" { cidr_block = "10.0.0.0/8" }
resource "alicloud_pvtz_zone" "a" { zone_name = "terraform.example" }
resource "alicloud_pvtz_zone_record" "a" {
  zone_id = alicloud_pvtz_zone.a.id
  rr = "www"
  type = "A"
  value = "192.0.2.1"
}
resource "alicloud_pvtz_zone_attachment" "a" {
  zone_id = alicloud_pvtz_zone.a.id
  vpc_ids = [alicloud_vpc.a.id]
}
""")
    (tmp_path / "rc").write_text(f'provider_installation {{ dev_overrides {{ "aliyun/alicloud" = "{Path(plugins).parent}" }} }}')
    line = f"cd {tmp_path} && {tool} apply -auto-approve && {tool} plan -detailed-exitcode && {tool} destroy -auto-approve"
    assert "Destroy complete" in instance("sh", "-c", line, words=["--public"], more={"TF_CLI_CONFIG_FILE": str(tmp_path / "rc")})


def test_the_providers_own_acceptance_tests(instance, row):
    """The test program of its package, which has to be named: it takes minutes."""
    tests = shutil.which(f"{PROVIDER}.test") or missing("terraform")
    more = {"TF_ACC": "1", "ENTERPRISE_ACCOUNT_ENABLED": "true"}
    told = instance(tests, "-test.v", "-test.run", "TestAcc.*Pvtz", words=["--public", "--quiet"], patience=900, more=more)
    passed, skipped = told.count("--- PASS: TestAcc"), told.count("--- SKIP: TestAcc")
    row("Terraform, provider alicloud: acceptance tests", os.environ.get("TERRAFORM_ALICLOUD_VERSION", ""),
        f"its tests for PrivateZone in `lab exec --public`: {passed} passed, {skipped} skipped",
        f"在 `lab exec --public` 中运行其 PrivateZone 测试：通过 {passed} 个，跳过 {skipped} 个")
    assert passed >= 19 and skipped == 0
