"""Credentials of roles in the lab: jobs that live on them, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness.lab import execute, instances
from harness.process import ROOT

JOBS = ROOT / "tests/clients/role"


def built(program, words, folder):
    """Builds a job; what is needed for it and missing is a reason to skip, but in CI."""
    if not shutil.which(program):
        pytest.skip(f"no {program}")
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"{program} cannot build the job: {(done.stderr or done.stdout).strip()[-300:]}")
    assert done.returncode == 0, done.stdout + done.stderr


def python(_folder):
    return [sys.executable, JOBS / "job.py"]


def go(folder):
    shutil.copytree(JOBS, folder / "go")
    built("go", ["go", "build", "-o", folder / "job", "."], folder / "go")
    return [folder / "job"]


def java(folder):
    shutil.copytree(JOBS, folder / "java")
    jars = folder / "jars"
    built("mvn", ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], folder / "java")
    built("javac", ["javac", "-nowarn", "-d", folder / "classes", "-cp", f"{jars}/*", "Job.java"], folder / "java")
    return ["java", "-cp", f"{jars}/*:{folder / 'classes'}", "Job"]


@instances
@pytest.mark.parametrize("job", [python, go, java])
def test_a_job_goes_on_past_the_end_of_its_first_token(tmp_path, job):
    words = job(tmp_path)
    done = execute(tmp_path, *words, options=["--no-key", "--credential-ttl", "10s", "--role", "job"])
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = done.stdout.split()
    assert first != second and first.startswith("STS.") and second.startswith("STS.")


@instances
def test_no_key_is_in_the_environment_where_none_is_wanted(tmp_path):
    variables = ["env", "ALIBABA_CLOUD_ACCESS_KEY_ID=caller", "ALICLOUD_SECRET_KEY=caller"]
    done = execute(tmp_path, "env", options=["--no-key"], prefix=variables)
    assert "ACCESS_KEY" not in done.stdout and "SECRET_KEY" not in done.stdout and "caller" not in done.stdout
    assert "ALIBABA_CLOUD_REGION_ID=cn-hangzhou" in done.stdout
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID=LAB" in execute(tmp_path, "env").stdout


REFUSALS = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from harness import lab_api
sts, pvtz = lab_api.sts, lab_api.pvtz
role = {"RoleArn": "acs:ram::1000000000000000:role/app", "RoleSessionName": "alice"}
lasting = (os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"], None)
one, other = [lab_api.key(sts(lasting, "AssumeRole", **role)) for _ in range(2)]
told = {}
for sign in ("v1", "acs3"):
    def pvtz_code(key, sign=sign):
        return pvtz(key, "DescribeZones", sign=sign).get("Code", "ok")
    identifier, secret, token = one
    flipped = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    told[sign] = [
        pvtz_code(lasting), pvtz_code(one), pvtz_code(other), pvtz_code((identifier, secret, None)),
        pvtz_code((identifier, secret, flipped)), pvtz_code((identifier, secret, other[2])),
        pvtz_code((*lasting[:2], token)), pvtz_code((identifier, secret, "A" * (16 << 10))),
        pvtz_code((identifier, secret + "x", token)), pvtz_code((identifier, lasting[1], token)),
    ]
    told[sign].append(sts(one, "GetCallerIdentity", sign=sign)["Arn"])
    told[sign].append(sts(lasting, "GetCallerIdentity", sign=sign)["Arn"])
print(json.dumps(told))
"""


@instances
def test_tokens_count_at_every_api_in_both_signings_and_bad_ones_have_their_codes(tmp_path):
    done = execute(tmp_path, sys.executable, "-c", REFUSALS, Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    expected = [
        "ok", "ok", "ok", "MissingSecurityToken",
        "InvalidSecurityToken.Malformed", "InvalidSecurityToken.MismatchWithAccessKey",
        "InvalidSecurityToken.MismatchWithAccessKey", "InvalidSecurityToken.Malformed",
        "SignatureDoesNotMatch", "SignatureDoesNotMatch",
        "acs:ram::1000000000000000:assumed-role/app/alice",
        "acs:ram::1000000000000000:user/pvtzd-lab",
    ]  # fmt: skip
    assert told == {"v1": expected, "acs3": expected}


ENDED = """
import json, os, sys, time, urllib.request
sys.path.insert(0, sys.argv[1])
from harness import lab_api
def told():
    with urllib.request.urlopen("http://100.100.100.200/latest/meta-data/ram/security-credentials/pvtzd-lab", timeout=5) as answer:
        return json.load(answer)
def codes(said):
    key = said["AccessKeyId"], said["AccessKeySecret"], said["SecurityToken"]
    calls = (lab_api.pvtz, "DescribeZones"), (lab_api.ecs, "DescribeRegions"), (lab_api.sts, "GetCallerIdentity")
    return [call(key, action).get("Code", "ok") for call, action in calls]
first = told()
before = codes(first)
while lab_api.now() < first["Expiration"]:
    time.sleep(0.1)
print(json.dumps([before, codes(first), codes(told())]))
"""


@instances
def test_a_token_ends_when_it_says_and_another_is_there_by_then(tmp_path):
    done = execute(tmp_path, sys.executable, "-c", ENDED, Path(__file__).parent, options=["--credential-ttl", "8s"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["ok"] * 3, ["InvalidSecurityToken.Expired"] * 3, ["ok"] * 3]


UNSIGNED = """
import base64, json, subprocess, time
def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
def ask(token, **more):
    fields = {"Action": "AssumeRoleWithOIDC", "Version": "2015-04-01", "Format": "JSON", "RoleSessionName": "pod",
              "RoleArn": "acs:ram::1000000000000000:role/pod", "OIDCToken": token,
              "OIDCProviderArn": "acs:ram::1000000000000000:oidc-provider/ack", **more}
    words = [word for name, value in fields.items() for word in ("--data-urlencode", f"{name}={value}")]
    return json.loads(subprocess.run(["curl", "-sS", "https://sts.cn-hangzhou.aliyuncs.com/", *words], capture_output=True, check=True).stdout)
def token(end):
    return ".".join([part({"alg": "none"}), part({"iss": "https://ack", "sub": "system:x", "aud": "sts", "exp": end}), "x"])
good = token(time.time() + 60)
print(json.dumps([ask(good), ask(token(1)), ask("x"), ask(good, Action="AssumeRole"), ask(good, DurationSeconds="899")]))
"""


@instances
def test_a_pod_takes_a_role_by_its_oidc_token_without_a_key(tmp_path):
    done = execute(tmp_path, sys.executable, "-c", UNSIGNED)
    assert done.returncode == 0, done.stderr
    good, *refused = json.loads(done.stdout)
    assert good["Credentials"]["AccessKeyId"].startswith("STS.") and good["OIDCTokenInfo"]["Subject"] == "system:x"
    assert [answer["Code"] for answer in refused] == [
        "AuthenticationFail.OIDCToken.Expired", "InvalidParameter.OIDCToken", "MissingAccessKeyId", "InvalidParameter.DurationSeconds",
    ]  # fmt: skip
