"""docs/fallback.md with the package, on a machine with systemd: installed, found missing, taken over, found well,
given back; for each kind of resolver manager."""

import shutil

import pytest
from harness import machine as machines
from harness.instance import GATEWAY, Instance
from harness.wait import until
from test_packages import Deb

NAME = "ecs.cn-hangzhou.aliyuncs.com"
MANAGERS = ["plain", "resolved", "networkd", "network-manager", "dhclient", "cloud-init"]
# What the managers' own settings are in; a machine that tests are run on may have some.
SETTINGS = ["cloud", "dhcp", "NetworkManager", "netplan", "systemd/resolved.conf", "systemd/resolved.conf.d"]


class Installed(Instance):
    """An instance that is a whole machine, with the package's pvtzd and the package's configuration on it."""

    def _make_etc(self):
        self.etc = self.namespace.root / "etc"
        for name in [*SETTINGS, "resolv.conf"]:
            path = self.etc / name
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
        self.file("hosts", "127.0.0.1 localhost\n")
        self.file("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")

    def picture(self):
        """All of /etc but for what enabling a unit writes, and /run's and /var/lib's part of the resolver."""
        return {name: seen for name, seen in super().picture().items() if not name.startswith("systemd/system/")}

    def pvtzd(self, *words, code=None, wait=30):
        """Runs the installed program, as a person does."""
        settings = [f"{key}={value}" for key, value in self.environment.items()]
        done = self.namespace.run("env", *settings, "pvtzd", *words, check=False, patience=wait)
        assert code is None or done.returncode == code, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine on which the package has just been installed, and nothing else been done."""
    lacking = machines.lacking()
    if lacking:
        pytest.skip(lacking)
    made = machines.Machine(tmp_path_factory.mktemp("machine"))
    try:
        made.run("rm", "-rf", "/etc/pvtzd", "/usr/bin/pvtzd")
        Deb(made).install()
        yield made
    finally:
        made.close()


@pytest.fixture
def installed(machine, tmp_path):
    """The instance; its folder has the same name seen from outside and from within."""
    folder = tmp_path / "instance"
    machine.run("mkdir", "-p", folder)
    folder.symlink_to(machine.root / str(folder).lstrip("/"))
    made = Installed(machine, folder)
    yield made
    machine.run("systemctl", "disable", "--now", "pvtzd.service", "pvtzd.socket", check=False)
    made.close()
    machine.run("rm", "-rf", "/run/systemd/resolve")


@pytest.mark.parametrize("manager", MANAGERS)
def test_from_the_package_to_working_and_back(installed, machine, manager):
    installed.manager(manager)
    installed.cloud()
    installed.metadata()
    installed.api()
    before = installed.picture()
    assert installed.getent(NAME) == ["203.0.113.2"], "a public address, out of reach"

    steps, checks = installed.doctor(code=1)
    failed = [check for check in checks if check["outcome"] == "fail"]
    assert {"pvtzd", "resolver"} <= {check["step"] for check in failed}, checks
    assert all(check["advice"] for check in failed)
    assert steps["configuration"] == steps["metadata"] == ["pass"]

    machine.run("systemctl", "enable", "--now", "pvtzd")
    until(lambda: machine.shown("ActiveState") == "active", "the service runs")
    assert installed.picture() == before, "the service alone changes nothing"
    installed.pvtzd("resolver", "take", code=0)

    ping = machine.run("ping", "-c1", "-W5", NAME).stdout
    assert f"({GATEWAY})" in ping and "1 received" in ping
    assert installed.getent(NAME) == [GATEWAY] and installed.getent("www.test") == ["192.0.2.80"]
    program = f"import socket; print(socket.getaddrinfo('{NAME}', 443)[0][4][0])"
    assert machine.run("/usr/bin/python3", "-c", program).stdout.strip() == GATEWAY
    steps, checks = installed.doctor(code=0)
    assert {outcome for outcomes in steps.values() for outcome in outcomes} == {"pass"}, checks

    machine.run("systemctl", "restart", "pvtzd")
    assert installed.getent("www.test") == ["192.0.2.80"], "it still knows whom to ask"

    installed.pvtzd("resolver", "give-back", code=0)
    assert installed.picture() == before
    assert installed.getent(NAME) == ["203.0.113.2"]
    machine.run("systemctl", "disable", "--now", "pvtzd")
    assert installed.picture() == before and machine.shown("ActiveState") == "inactive"
