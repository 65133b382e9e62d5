"""What is handed out: packages on a machine with systemd, the image's files, the examples for Kubernetes."""

import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from harness import machine as machines
from harness.load import Load
from harness.process import ROOT, binary
from harness.wait import until

PACKAGING = ROOT / "packaging"
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "package"
RECORD = "/var/lib/pvtzd-resolver/resolver.json"  # there is one while resolv.conf is taken over
CONFIGURATION = """
[server]
listen = ["127.0.0.1:53"]
[upstream]
servers = []
[[zone]]
name = "one.example"
[[zone.record]]
name = "*"
type = "A"
value = "192.0.2.7"
"""
DROP_IN = "[Service]\nEnvironment=ALIBABA_CLOUD_ECS_METADATA_DISABLED=true\n"


def built(pattern):
    """A package that `packaging/build` made."""
    found = sorted(BUILT.glob(pattern), key=lambda file: file.stat().st_mtime)
    if not found:
        pytest.skip(f"no {pattern} in {BUILT}: `packaging/build`")
    return found[-1]


@pytest.fixture
def machine(tmp_path):
    """A machine with systemd and without pvtzd."""
    lacking = machines.lacking()
    if lacking:
        pytest.skip(lacking)
    made = machines.Machine(tmp_path)
    made.write("/etc/systemd/system/pvtzd.service.d/test.conf", DROP_IN)
    yield made
    made.close()


class Deb:
    """How dpkg does it."""

    def __init__(self, machine):
        self.machine = machine
        self.file = machine.lend(built("pvtzd_*.deb"))

    def install(self, file=None):
        return self.machine.run("dpkg", "--install", file or self.file)

    def next(self):
        """The same package as a later version."""
        run = self.machine.run
        run("dpkg-deb", "--raw-extract", self.file, "/root/next")
        run("sed", "-i", "s/^Version: .*/Version: 999.0-1/", "/root/next/DEBIAN/control")
        run("dpkg-deb", "--build", "/root/next", "/root/next.deb", patience=100)
        run("rm", "-r", "/root/next")
        return "/root/next.deb"

    def upgrade(self, file):
        return self.machine.run("dpkg", "--install", "--force-confold", file)

    def remove(self, check=True):
        return self.machine.run("dpkg", "--remove", "pvtzd", check=check)

    kept = "/etc/pvtzd/pvtzd.toml"


class Rpm:
    """How rpm does it; dependencies are Debian's here, which rpm does not know."""

    def __init__(self, machine):
        if machine.run("rpm", "--version", check=False).returncode != 0:
            pytest.skip("no rpm: `apt-get install rpm`")
        self.machine = machine
        self.file = machine.lend(built("pvtzd-*.rpm"))

    def install(self, file=None):
        return self.machine.run("rpm", "--install", "--nodeps", file or self.file)

    def next(self):
        return None  # the same version once more

    def upgrade(self, _file):
        return self.machine.run("rpm", "--upgrade", "--nodeps", "--force", self.file)

    def remove(self, check=True):
        return self.machine.run("rpm", "--erase", "pvtzd", check=check)

    kept = "/etc/pvtzd/pvtzd.toml.rpmsave"


@pytest.fixture(params=[Deb, Rpm])
def package(request, machine):
    return request.param(machine)


def files(machine):
    """What there is that a package could have left."""
    found = machine.run("find", "/etc", "/usr", "/var/lib", "/lib/systemd", "-xdev").stdout.splitlines()
    others = ("/var/lib/dpkg", "/var/lib/rpm", "/var/lib/systemd", "/etc/systemd/system/pvtzd.service.d")
    return {file for file in found if not file.startswith(others)}


def units(machine):
    """What is enabled, what runs."""
    state = {}
    for unit in ("pvtzd.service", "pvtzd.socket"):
        enabled = machine.run("systemctl", "is-enabled", unit, check=False).stdout.strip()
        state[unit] = (enabled, machine.shown("ActiveState", unit))
    return state


def answers(machine):
    """Whether pvtzd answers on port 53."""
    asked = machine.run("dig", "@127.0.0.1", "+short", "+tries=1", "+timeout=3", "x.one.example", check=False)
    return asked.stdout.split() == ["192.0.2.7"]


def test_installing_starts_nothing_and_touches_no_resolver(machine, package):
    with machine.inside():
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with holder:
        holder.bind(("127.0.0.1", 53))
        resolv_conf = (machine.root / "etc/resolv.conf").read_text()
        said = package.install().stdout
    assert "not started" in said and "systemctl enable --now pvtzd" in said
    assert set(units(machine).values()) == {("disabled", "inactive")}
    assert (machine.root / "etc/resolv.conf").read_text() == resolv_conf
    assert machine.run("pvtzd", "check").returncode == 0
    for page in ("install.md", "pvtzd.toml", "fallback.toml"):
        assert machine.run("test", "-s", f"/usr/share/doc/pvtzd/{page}").returncode == 0, page


def test_from_installing_to_removing(machine, package):
    before = files(machine)
    package.install()
    machine.write("/etc/pvtzd/pvtzd.toml", CONFIGURATION)
    machine.run("systemctl", "enable", "--now", "pvtzd")
    assert set(units(machine).values()) == {("enabled", "active")}
    assert answers(machine)

    following = package.next()
    first = machine.main_pid()
    with machine.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock, Load(sock, ("127.0.0.1", 53), 500, "192.0.2.7") as load:
        package.upgrade(following)
        asked = load.asked
        until(lambda: load.asked > asked + 100, "some queries more")
    assert machine.main_pid() not in (0, first), "the new version runs"
    assert (load.unanswered, load.wrong) == (0, [])
    assert (machine.root / "etc/pvtzd/pvtzd.toml").read_text() == CONFIGURATION

    package.remove()
    assert not answers(machine)
    assert machine.shown("LoadState") == "not-found"
    assert (machine.root / package.kept.lstrip("/")).read_text() == CONFIGURATION
    assert (machine.root / "var/lib/private/pvtzd").is_dir(), "its state is kept"
    if isinstance(package, Deb):
        machine.run("dpkg", "--purge", "pvtzd")
        machine.run("rm", "-f", following)
        left = files(machine) - before
        assert {file for file in left if not file.startswith("/var/lib/private")} == set(), "every byte is gone"
        assert machine.run("ls", "/var/lib/private").stdout == ""


@pytest.mark.parametrize("given_back", [True, False])
def test_removing_gives_the_resolver_back_first(machine, package, given_back):
    package.install()
    machine.write(RECORD, "{}")
    # Plays a pvtzd that can or cannot give back; `resolver` has tests of its own.
    verdict = f"rm {RECORD}" if given_back else "exit 1"
    machine.write("/usr/bin/pvtzd", f'#!/bin/sh\necho "$@" >>/root/called\n{verdict}\n')
    removed = package.remove(check=False)
    assert (machine.root / "root/called").read_text() == "resolver give-back\n"
    assert (removed.returncode == 0) == given_back, removed.stderr
    assert (machine.shown("LoadState") == "not-found") == given_back
    if not given_back:
        assert "pvtzd is not removed" in removed.stderr


def test_the_tarball_has_what_the_packages_have(tmp_path):
    file = built("pvtzd-*.tar.gz")
    subprocess.run(["tar", "-xzf", file, "-C", tmp_path], check=True)
    (folder,) = tmp_path.iterdir()
    for part in ("pvtzd", "systemd/pvtzd.service", "systemd/pvtzd.socket", "config/installed.toml", "docs/install.md"):
        assert (folder / part).stat().st_size > 0, part
    linked = subprocess.run(["ldd", folder / "pvtzd"], capture_output=True, text=True, check=False)
    assert "statically linked" in linked.stdout + linked.stderr or "not a dynamic" in linked.stdout + linked.stderr


# --- what the program is made of ----------------------------------------------------------------------------------

# How each package is read as a tar file, without installing it.
READ = {
    "pvtzd_*.deb": ["dpkg-deb", "--fsys-tarfile", "/dev/stdin"],
    "pvtzd-*.rpm": ["rpm2archive", "-"],
    "pvtzd-*.tar.gz": ["cat"],
}


def bill(pattern):
    """The list of libraries that a package has with it."""
    if shutil.which(READ[pattern][0]) is None:
        pytest.skip(f"no {READ[pattern][0]}")
    with built(pattern).open("rb") as file:
        unpacked = subprocess.run(READ[pattern], stdin=file, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        (name,) = [name for name in archive.getnames() if name.endswith("/sbom.cdx.json")]
        if not pattern.endswith(".tar.gz"):
            assert name.removeprefix("./").removeprefix("/") == "usr/share/doc/pvtzd/sbom.cdx.json"
        return archive.extractfile(name).read().decode()


def direct_dependencies():
    """Those of Cargo.toml that are always in the program, with the versions of Cargo.lock; and those that never are."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    (ours,) = [package for package in locked if package["name"] == "pvtzd"]
    versions = {}
    for entry in ours["dependencies"]:  # "name", or "name version" where there are several
        name, *version = entry.split()
        versions[name] = version[0] if version else next(one["version"] for one in locked if one["name"] == name)
    described = manifest["dependencies"].items()
    optional = {name for name, said in described if isinstance(said, dict) and said.get("optional")}
    always = {(name, versions[name]) for name, _ in described if name not in optional}
    return always, optional | (manifest["dev-dependencies"].keys() - manifest["dependencies"].keys())


@pytest.mark.parametrize("pattern", READ, ids=["deb", "rpm", "tarball"])
def test_each_package_names_the_libraries_in_its_program(pattern):
    text = bill(pattern)
    listed = json.loads(text)
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.5")
    component = listed["metadata"]["component"]
    assert (component["name"], component["version"]) == ("pvtzd", version())
    found = {(one["name"], one["version"]) for one in listed["components"] if one["scope"] == "required"}
    always, never = direct_dependencies()
    helpers = {(one["name"], one["version"]) for one in listed["components"] if one["scope"] == "excluded"}
    assert {name for name, _ in always & helpers} <= {"async-trait"}, "procedural macros are not in the program"
    always -= helpers
    assert len(always) > 10 and always <= found, always - found
    assert not never & {one["name"] for one in listed["components"]}
    for one in listed["components"]:
        assert one["licenses"] and len(one["hashes"][0]["content"]) == 64, one
    # each reference is to something that is listed
    known = {one["bom-ref"] for one in [component, *listed["components"]]}
    assert {one["ref"] for one in listed["dependencies"]} == known
    assert all(known.issuperset(one["dependsOn"]) for one in listed["dependencies"])
    # the same wherever and whenever it was made
    assert "serialNumber" not in listed
    assert str(ROOT) not in text


def version():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


# --- the image -------------------------------------------------------------------------------------------------


def instructions(file):
    """The instructions of the last stage of a Dockerfile: `(word, rest)`."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]
    last = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


def test_the_image_serves_with_nothing_but_its_files(namespace, tmp_path):
    """There is no Docker here: its instructions are played on a folder that becomes the root."""
    unpacked = tmp_path / "tarball"
    unpacked.mkdir()
    subprocess.run(["tar", "-xzf", built("pvtzd-*.tar.gz"), "-C", unpacked], check=True)
    (program,) = unpacked.glob("*/pvtzd")
    image = tmp_path / "image"
    image.mkdir()
    user = entry = None
    for word, rest in instructions(PACKAGING / "Dockerfile"):
        if word == "FROM":
            assert rest == "scratch"
        elif word == "COPY":
            source, target = [part for part in rest.split() if not part.startswith("--")]
            to = image / target.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            if source == "/state":  # made empty by the first stage
                to.mkdir()
            else:
                shutil.copy(program if "--from" in rest else ROOT / source, to)
        elif word == "USER":
            user = rest
        elif word == "ENTRYPOINT":
            entry = words(rest)
        elif word == "CMD":
            command = words(rest)
        elif word == "HEALTHCHECK":
            health = words(rest.split("CMD", 1)[1])
    assert user == "65532:65532" and entry == ["/pvtzd"]
    namespace.run("sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=0")  # as Docker does
    (image / "etc/resolv.conf").write_text("nameserver 127.0.0.9\n")  # nobody
    (image / "dev").mkdir()
    for device, number in (("random", 8), ("urandom", 9)):  # every container has them
        namespace.run("mknod", "-m", "666", image / "dev" / device, "c", 1, number)
    inside = ["chroot", f"--userspec={user}", "--groups=", str(image)]
    server = namespace.process(*inside, *entry, *command, "--metadata", "off")
    try:
        server.logged('ready listen="0.0.0.0:53"')
        assert namespace.run(*inside, *health, check=False).returncode == 0
    finally:
        assert server.stop() == 0, server.log
    assert namespace.run(*inside, *health, check=False).returncode != 0, "nobody is there any more"


def words(text):
    return [word.strip('"') for word in shlex.split(text.strip("[] \n").replace(",", " "))]


# --- Kubernetes ------------------------------------------------------------------------------------------------

EXAMPLES = sorted((PACKAGING / "kubernetes").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
@pytest.mark.parametrize("version", ["1.29", None], ids=["oldest", "newest"])
def test_the_examples_are_what_kubernetes_takes(file, version):
    validator = Path(sys.executable).with_name("kubernetes-validate")
    if not validator.exists():
        pytest.skip("no kubernetes-validate: `pip install kubernetes-validate`")
    chosen = ["--kubernetes-version", version] if version else []
    done = subprocess.run([validator, "--strict", *chosen, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    documents = file.read_text().count("\nkind: ")
    assert documents >= 2 and (done.stdout + done.stderr).count("passed") == documents, "a configuration and what runs"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_configurations_in_the_examples_are_without_faults(file, tmp_path):
    yaml = pytest.importorskip("yaml")
    configuration, *_, runs = yaml.safe_load_all(file.read_text())
    (tmp_path / "pvtzd.toml").write_text(configuration["data"]["pvtzd.toml"])
    checked = subprocess.run(
        [binary(), "check", "--config", tmp_path / "pvtzd.toml"], capture_output=True, text=True, check=False
    )
    # An API for other pods, and its probes, are reached from other machines.
    lines = [line for line in checked.stderr.splitlines() if line.startswith("warning: ")]
    lines = [line for line in lines if not (file.stem == "fleet-api" and "from other machines" in line)]
    assert checked.returncode == 0 and lines == [], checked.stdout + checked.stderr
    pod = runs["spec"]["template"]["spec"]
    (pvtzd,) = [one for one in pod["containers"] + pod.get("initContainers", []) if one["name"] == "pvtzd"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe in pvtzd and "httpGet" in pvtzd[probe]:
            assert pvtzd[probe]["httpGet"]["path"] in ("/ready", "/health")
        elif probe in pvtzd:
            command = pvtzd[probe]["exec"]["command"]
            usage = subprocess.run([binary(), *command[1:], "--help"], capture_output=True, check=False)
            assert command[0] == "/pvtzd" and usage.returncode == 0, command
