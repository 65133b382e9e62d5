"""Names and places of the lab's instance: with a public network, without one, and what is said about it; Java over TLS."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness.lab import SOMEBODY, execute, instances

LOCATION = "location-readonly.aliyuncs.com"
NAMES = [
    "ecs.cn-hangzhou.aliyuncs.com", "vpc.cn-hangzhou.aliyuncs.com", "vpc.aliyuncs.com", "sts.cn-hangzhou.aliyuncs.com",
    "pvtz.aliyuncs.com", "location.aliyuncs.com", LOCATION, "resourcemanager.aliyuncs.com", "business.aliyuncs.com",
    "alidns.aliyuncs.com", "rds.cn-beijing.aliyuncs.com", "ram.aliyuncs.com", "cn-hangzhou.log.aliyuncs.com",
]  # fmt: skip


@instances
def test_with_a_public_network_every_api_name_answers_over_http_and_https(tmp_path):
    script = """
for name in "$@"; do for scheme in http https; do
    curl -sS -m 5 -o /dev/null -w "%{http_code} $scheme://$name\\n" $scheme://$name/
done; done
"""
    done = execute(tmp_path, "sh", "-c", script, "sh", *NAMES, options=["--public"])
    assert done.stdout.splitlines() == [f"400 {scheme}://{name}" for name in NAMES for scheme in ("http", "https")], done.stderr
    assert done.stderr == ""


LOCATED = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from harness import lab_api
key = (os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"], None)
place = ("location-readonly.aliyuncs.com", 80, "2015-06-12")
ask = lambda product: lab_api.v1(place, key, "DescribeEndpoints", {"Id": "cn-beijing", "ServiceCode": product, "Type": "openAPI"})
print(json.dumps([ask(product)["Endpoints"]["Endpoint"][0]["Endpoint"] for product in ("ecs", "vpc", "pvtz", "BssOpenApi")]))
"""


@instances
def test_the_location_service_answers_with_a_public_network(tmp_path):
    done = execute(tmp_path, sys.executable, "-c", LOCATED, Path(__file__).parent, options=["--public"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == ["ecs.cn-beijing.aliyuncs.com", "vpc.cn-beijing.aliyuncs.com", "pvtz.aliyuncs.com", "business.aliyuncs.com"]


ASK = "import socket, sys\nfor name in sys.argv[1:]:\n    try: socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)\n    except OSError: pass\n"


@instances
@pytest.mark.parametrize("prefix", [[], SOMEBODY])
def test_names_that_were_asked_for_in_vain_are_told_at_the_end(tmp_path, prefix):
    words = [sys.executable, "-c", ASK, LOCATION, LOCATION, "alidns.aliyuncs.com", "ecs.cn-hangzhou.aliyuncs.com", "nosuch.aliyuncs.com"]
    done = execute(tmp_path, *words, prefix=prefix)
    assert f"  {LOCATION}  asked for 2 times\n" in done.stderr, done.stderr
    assert f"  {'alidns.aliyuncs.com':{len(LOCATION)}}  asked for once\n" in done.stderr
    assert "  nosuch.aliyuncs.com  asked for once\n" in done.stderr
    assert "ecs.cn-hangzhou" not in done.stderr
    for advice in ("--endpoint", "endpoints {}", "--public", "--quiet"):
        assert advice in done.stderr
    assert execute(tmp_path, *words, options=["--quiet"], prefix=prefix).stderr == ""
    done = execute(tmp_path, "sh", "-c", f"getent hosts {LOCATION}; exit 7")
    assert done.returncode == 7 and LOCATION in done.stderr, "whatever the command's end was"


@instances
def test_nothing_is_said_where_every_name_led_somewhere(tmp_path):
    done = execute(tmp_path, sys.executable, "-c", ASK, "ecs.cn-hangzhou.aliyuncs.com", "www.example.com")
    assert done.stderr == ""


@instances
def test_packets_to_public_addresses_vanish_without_a_public_network(tmp_path):
    done = execute(tmp_path, "curl", "-sS", "-m", "1", f"https://{LOCATION}/")
    assert done.returncode == 28, "a timeout, and no refusal"


JAVA = """
import java.net.*;
public class Fetch {
    public static void main(String[] urls) throws Exception {
        for (String url : urls) System.out.println(((HttpURLConnection) new URL(url).openConnection()).getResponseCode());
    }
}
"""


def homes():
    return sorted({path.resolve() for path in Path("/usr/lib/jvm").glob("*") if (path / "bin/java").exists()})


@instances
@pytest.mark.parametrize("prefix", [[], SOMEBODY])
def test_java_trusts_the_lab_and_writes_nothing_of_its_own(tmp_path, prefix):
    if not shutil.which("javac") or not homes():
        pytest.skip("no JDK")
    (tmp_path / "Fetch.java").write_text(JAVA)
    subprocess.run(["javac", "-nowarn", "--release", "8", "-Xlint:-options", "Fetch.java"], cwd=tmp_path, check=True)
    for home in homes():
        words = [home / "bin/java", "-cp", tmp_path, "Fetch", "https://ecs.cn-hangzhou.aliyuncs.com/", "https://pvtz.aliyuncs.com/"]
        done = execute(tmp_path, *words, prefix=prefix)
        assert (done.stdout.split(), done.stderr) == (["400", "400"], ""), home


@instances
def test_the_store_for_java_has_the_systems_cas_and_the_labs(tmp_path):
    if not shutil.which("keytool"):
        pytest.skip("no keytool")
    script = "keytool -list -cacerts -storepass changeit | grep -c trustedCertEntry; grep -c BEGIN.CERTIFICATE $SSL_CERT_FILE"
    stored, trusted = execute(tmp_path, "sh", "-c", script).stdout.split()
    assert stored == trusted and int(stored) >= 1
