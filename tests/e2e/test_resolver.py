"""`pvtzd resolver` on an instance: taken over whoever manages resolv.conf, and given back to the octet."""

import json

import pytest
from harness.instance import GATEWAY, RESOLVERS, US, cloud
from harness.process import binary
from harness.resolved import Resolved
from harness.wait import until

MANAGERS = ["plain", "container", "resolved", "networkd", "network-manager", "dhclient", "cloud-init"]
NAME = "ecs.cn-hangzhou.aliyuncs.com"
SYSTEM = '[server]\nlisten = ["127.0.0.1:53"]\n[endpoints]\nregions = ["cn-hangzhou"]\n'


def in_a_vpc(instance, manager="plain", text=None):
    """An instance with a resolver manager, the cloud around it and pvtzd running."""
    instance.manager(manager)
    instance.cloud()
    instance.config(text or SYSTEM)
    return instance.start(metadata="off")


def resolv_conf(instance):
    return (getattr(instance, "mounted", None) or instance.etc / "resolv.conf").read_text()


@pytest.mark.parametrize("manager", MANAGERS)
def test_from_nothing_to_working_and_back(instance, manager):
    instance.manager(manager)
    instance.cloud()
    instance.metadata()
    instance.api()
    instance.config()
    before = instance.picture()
    assert instance.getent(NAME) == ["203.0.113.2"], "a public address, out of reach"

    steps, checks = instance.doctor(code=1)
    assert steps["port"][0] == "fail" and steps["pvtzd"] == ["fail"] and steps["resolver"] == ["fail"]
    assert steps["metadata"] == steps["catalogue"] == ["pass"] and steps["upstream"] == ["pass", "pass"]
    assert all(check["advice"] for check in checks if check["outcome"] == "fail")

    instance.start()
    shown = instance.pvtzd("resolver", "take", "--dry-run", code=0)
    assert "+nameserver 127.0.0.1" in shown.stdout or "+DNS=127.0.0.1" in shown.stdout
    assert instance.picture() == before, "a dry run changes nothing"

    taken = instance.pvtzd("resolver", "take", code=0)
    assert "give-back" in taken.stderr
    standing = instance.status(code=0)
    assert (standing["leads"], standing["taken"]["in_force"]) == ("us", True)
    if manager not in ("resolved", "networkd"):
        assert "rotate" not in resolv_conf(instance) and RESOLVERS[0] not in resolv_conf(instance)

    ping = instance.namespace.run("ping", "-c1", "-W5", NAME).stdout
    assert f"({GATEWAY})" in ping and "1 received" in ping
    assert instance.getent(NAME) == [GATEWAY] and instance.getent("www.test") == ["192.0.2.80"]
    program = f"import socket; print(socket.getaddrinfo('{NAME}', 443)[0][4][0])"
    assert instance.namespace.run("python3", "-c", program).stdout.strip() == GATEWAY

    steps, checks = instance.doctor(code=0)
    assert {outcome for outcomes in steps.values() for outcome in outcomes} == {"pass"}, checks

    given = instance.pvtzd("resolver", "give-back", code=0)
    assert "restored" in given.stderr
    assert instance.picture() == before
    assert instance.getent(NAME) == ["203.0.113.2"]
    assert instance.namespace.run("ls", "-A", "/var/lib").stdout.split() == ["pvtzd"], "only the cache is left"
    assert "no take is in force" in instance.pvtzd("resolver", "give-back", code=0).stderr


def test_a_container_s_file_is_the_same_file_afterwards(instance):
    in_a_vpc(instance, "container")
    text, inode = instance.mounted.read_text(), instance.mounted.stat().st_ino
    instance.pvtzd("resolver", "take", code=0)
    assert instance.mounted.stat().st_ino == inode and "nameserver 127.0.0.1\n" in instance.mounted.read_text()
    instance.pvtzd("resolver", "give-back", code=0)
    assert (instance.mounted.stat().st_ino, instance.mounted.read_text()) == (inode, text)


def test_only_the_mapped_names_come_to_us_by_resolved(instance):
    instance.manager("resolved")
    resolvers = instance.cloud()
    instance.config(SYSTEM)
    server = instance.start(metadata="off")
    before = instance.picture()
    instance.pvtzd("resolver", "take", "--only-mapped", code=0)
    assert instance.status()["leads"] == "mapped"
    assert instance.getent(NAME) == [GATEWAY]
    server.kill()
    assert instance.getent("www.test") == ["192.0.2.80"], "it does not pass through pvtzd"
    assert resolvers[0].count("www.test") > 0
    instance.pvtzd("resolver", "give-back", code=0)
    assert instance.picture() == before


@pytest.fixture
def resolved(instance):
    """An instance in a VPC with the real systemd-resolved."""
    instance.cloud()
    resolved = Resolved(instance)
    yield instance
    resolved.close()


def test_the_real_systemd_resolved(resolved):
    queries = resolved.folder / "queries.log"
    resolved.config(f'{SYSTEM}[log]\nqueries = "text"\nfile = "{queries}"\n')
    server = resolved.start(metadata="off")
    assert f"other names to {RESOLVERS[0]}, {RESOLVERS[1]}" in server.log, server.log
    before = resolved.picture()
    assert resolved.getent(NAME) == ["203.0.113.2"]

    resolved.pvtzd("resolver", "take", "--metadata", "off", code=0)
    assert resolved.status(code=0)["leads"] == "us"
    assert resolved.getent(NAME) == [GATEWAY] and resolved.getent("www.test") == ["192.0.2.80"]
    server.stop()
    server = resolved.start(metadata="off")
    assert resolved.ask("www.test").values == ["192.0.2.80"], "its upstream are the servers of the interface"

    resolved.pvtzd("resolver", "take", "--only-mapped", "--metadata", "off", code=0)
    standing = resolved.status(code=0)
    assert standing["leads"] == "mapped"
    assert resolved.getent(NAME) == [GATEWAY]
    # While pvtzd runs, a global server has a part in every name without a routing domain; a delegate has not.
    version = int(resolved.namespace.run(resolved.fake / "resolvectl", "--version").stdout.split()[1].split("~")[0].split(".")[0])
    assert resolved.getent("unmapped.test") == []
    asks_us_too = version < 258
    assert any("also to pvtzd" in note for note in standing["notes"]) == asks_us_too
    if asks_us_too:
        until(lambda: "unmapped.test" in queries.read_text(), "pvtzd was asked too")
    else:
        assert "unmapped.test" not in queries.read_text()
    server.stop()
    assert resolved.getent("www.test") == ["192.0.2.80"], "it does not pass through pvtzd"

    resolved.pvtzd("resolver", "give-back", code=0)
    assert resolved.picture() == before and resolved.status(code=0)["leads"] == "elsewhere"
    assert resolved.getent(NAME) == ["203.0.113.2"]


def test_only_the_mapped_names_need_resolved(instance):
    in_a_vpc(instance)
    before = instance.picture()
    refused = instance.pvtzd("resolver", "take", "--only-mapped", code=1)
    assert "not some of them" in refused.stderr and "hint:" in refused.stderr
    assert instance.picture() == before


@pytest.mark.parametrize("manager", ["plain", "dhclient", "network-manager", "resolved"])
def test_pvtzd_finds_its_upstream_after_the_take_and_after_a_restart(instance, manager):
    """`servers = "system"` with a resolv.conf that leads to pvtzd alone."""
    server = in_a_vpc(instance, manager)
    instance.pvtzd("resolver", "take", code=0)
    assert instance.ask("www.test").values == ["192.0.2.80"]
    server.stop()
    server = instance.start(metadata="off")
    assert f"other names to {RESOLVERS[0]}" in server.log, server.log
    assert "ignored: this server itself" not in server.log or manager == "resolved", "it is no fault"
    assert instance.ask("www.test").values == ["192.0.2.80"]
    assert instance.getent(NAME) == [GATEWAY]


def test_the_running_pvtzd_notices_take_and_give_back(instance):
    server = in_a_vpc(instance)
    instance.pvtzd("resolver", "take", code=0)
    (instance.etc / "resolv.conf").write_text("nameserver 127.0.0.1\nnameserver 100.100.2.138\n")
    server.logged("upstream servers have changed servers=100.100.2.138|upstream servers have changed.*100.100.2.138")
    instance.pvtzd("resolver", "give-back", "--force", code=0)
    server.logged(f"upstream servers have changed.*{RESOLVERS[0]}")


def test_nothing_is_taken_while_pvtzd_does_not_answer(instance):
    instance.manager("plain")
    instance.cloud()
    instance.config(SYSTEM)
    before = instance.picture()
    refused = instance.pvtzd("resolver", "take", "--metadata", "off", code=4)
    assert "does not answer on 127.0.0.1:53" in refused.stderr and "nothing was changed" in refused.stderr
    assert instance.picture() == before
    instance.pvtzd("resolver", "take", "--force", "--metadata", "off", code=0)
    assert "nameserver 127.0.0.1\n" in resolv_conf(instance)


def test_nothing_is_taken_where_pvtzd_listens_on_another_port(instance):
    instance.manager("plain")
    instance.config('[server]\nlisten = ["127.0.0.1:5335"]\n')
    refused = instance.pvtzd("resolver", "take", "--metadata", "off", code=1)
    assert "port 53 only" in refused.stderr and "127.0.0.1:5335" in refused.stderr


def test_a_take_that_does_not_work_is_undone(instance):
    """systemd-resolved that says it has read its drop-in, and has not."""
    in_a_vpc(instance, "resolved")
    before = instance.picture()
    (instance.fake / "deaf").touch()
    failed = instance.pvtzd("resolver", "take", code=1)
    assert "all changes were reverted" in failed.stderr and "doctor" in failed.stderr
    assert instance.picture() == before and instance.status()["taken"] is None


def test_a_manager_that_cannot_be_told(instance):
    in_a_vpc(instance, "network-manager")
    before = instance.picture()
    (instance.fake / "fail").touch()
    failed = instance.pvtzd("resolver", "take", code=71)
    assert "`systemctl reload NetworkManager` failed: Unit is masked." in failed.stderr
    assert instance.picture() == before


def test_killed_half_way(instance):
    """SIGKILL while systemd-resolved is being told: what was remembered brings everything back."""
    in_a_vpc(instance, "resolved")
    before = instance.picture()
    (instance.fake / "kill").touch()
    assert instance.pvtzd("resolver", "take").returncode in (-9, 137)
    (instance.fake / "kill").unlink()
    assert instance.picture() != before
    standing = instance.status(code=1)
    assert not standing["taken"]["in_force"] and standing["notes"]
    instance.pvtzd("resolver", "give-back", code=0)
    assert instance.picture() == before
    (instance.fake / "kill").touch()
    instance.pvtzd("resolver", "take")
    (instance.fake / "kill").unlink()
    instance.pvtzd("resolver", "take", code=0)
    assert instance.getent(NAME) == [GATEWAY], "or the take is begun again"
    instance.pvtzd("resolver", "give-back", code=0)
    assert instance.picture() == before


def test_a_manager_that_writes_again_is_noticed_and_its_file_is_left(instance):
    in_a_vpc(instance, "dhclient")
    text = resolv_conf(instance)
    instance.pvtzd("resolver", "take", code=0)
    instance.file("resolv.conf", "; generated by /usr/sbin/dhclient-script\nnameserver 100.100.2.138\n")
    done = instance.pvtzd("resolver", "status", code=1)
    assert "NOT in force" in done.stdout and "dhclient rewrote" in done.stderr
    given = instance.pvtzd("resolver", "give-back", code=1)
    assert "not restored: changed since the take" in given.stderr and "--force" in given.stderr
    assert "100.100.2.138" in resolv_conf(instance)
    assert not (instance.etc / "dhcp/dhclient-enter-hooks.d/pvtzd").exists(), "what is ours is gone all the same"
    instance.pvtzd("resolver", "give-back", "--force", code=0)
    assert resolv_conf(instance) == text


def test_no_resolv_conf_at_all(instance):
    instance.cloud()
    instance.config(f'[server]\nlisten = ["127.0.0.1:53"]\n[upstream]\nservers = ["{RESOLVERS[0]}"]\n')
    instance.start(metadata="off")
    before = instance.picture()
    assert "there is no /etc/resolv.conf" in "".join(instance.status(code=0)["notes"])
    instance.pvtzd("resolver", "take", "--metadata", "off", code=0)
    assert instance.getent(NAME) == [GATEWAY]
    instance.pvtzd("resolver", "give-back", code=0)
    assert instance.picture() == before


def test_a_link_that_leads_nowhere(instance):
    instance.link("resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    instance.cloud()
    instance.config(f'[server]\nlisten = ["127.0.0.1:53"]\n[upstream]\nservers = ["{RESOLVERS[0]}"]\n')
    instance.start(metadata="off")
    before = instance.picture()
    taken = instance.pvtzd("resolver", "take", "--metadata", "off", code=0)
    assert "is a dangling link" in taken.stderr
    assert instance.getent(NAME) == [GATEWAY]
    instance.pvtzd("resolver", "give-back", code=0)
    assert instance.picture() == before


def test_a_read_only_etc(instance):
    in_a_vpc(instance)
    before = instance.picture()
    instance.namespace.run("mount", "-o", "remount,bind,ro", "/etc")
    failed = instance.pvtzd("resolver", "take", code=71)
    assert "Read-only file system" in failed.stderr and "remount" in failed.stderr, failed.stderr
    assert instance.picture() == before and instance.status()["taken"] is None
    instance.namespace.run("mount", "-o", "remount,bind,rw", "/etc")
    instance.pvtzd("resolver", "take", code=0)
    instance.namespace.run("mount", "-o", "remount,bind,ro", "/etc")
    assert "Read-only" in instance.pvtzd("resolver", "give-back", code=71).stderr
    instance.namespace.run("mount", "-o", "remount,bind,rw", "/etc")
    instance.pvtzd("resolver", "give-back", code=0)
    assert instance.picture() == before, "it was still remembered"


def test_a_full_disk_under_the_memory(instance):
    """Nothing is changed that could not be remembered."""
    in_a_vpc(instance)
    before = instance.picture()
    run = instance.namespace.run
    run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", "/var/lib")
    run("sh", "-c", "mkdir -p /var/lib/pvtzd-resolver; cat /dev/zero > /var/lib/filler 2>/dev/null || true")
    failed = instance.pvtzd("resolver", "take", code=71)
    assert "No space left on device" in failed.stderr and "--state-dir" in failed.stderr, failed.stderr
    assert instance.picture() == before and instance.status()["taken"] is None
    run("rm", "/var/lib/filler")
    instance.pvtzd("resolver", "take", code=0)


def test_a_full_disk_under_etc(instance, tmp_path):
    """A file system with room for what is there and for nothing more."""
    in_a_vpc(instance)
    run = instance.namespace.run
    run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "/mnt")
    run("cp", "-a", "/etc/.", "/mnt/")
    run("sh", "-c", "cat /dev/zero > /mnt/filler 2>/dev/null || true")
    run("mount", "--bind", "/mnt", "/etc")
    text = run("cat", "/etc/resolv.conf").stdout
    failed = instance.pvtzd("resolver", "take", code=71)
    assert "No space left on device" in failed.stderr, failed.stderr
    assert run("cat", "/etc/resolv.conf").stdout == text
    assert instance.status()["taken"] is None
    assert ".pvtzd" not in run("ls", "-A", "/etc").stdout


def test_an_immutable_file(instance):
    """`chattr +i`, where the file system has it; else `lsattr` says so."""
    in_a_vpc(instance)
    before = instance.picture()
    path = instance.etc / "resolv.conf"
    real = instance.namespace.run("chattr", "+i", path, check=False).returncode == 0
    shown = "exec /usr/bin/lsattr" if real else 'echo "----i--------- $3"; [ "$3" = /etc/resolv.conf ]'
    instance.program("lsattr", f'#!/bin/sh\n{shown} "$@"\n' if real else f"#!/bin/sh\n{shown}\n")
    try:
        refused = instance.pvtzd("resolver", "take", code=1)
        assert "/etc/resolv.conf is immutable" in refused.stderr and "chattr -i" in refused.stderr
        if real:  # and without lsattr to tell
            instance.program("lsattr", "#!/bin/sh\nexit 127\n")
            failed = instance.pvtzd("resolver", "take", code=71)
            assert "chattr -i" in failed.stderr, failed.stderr
        assert instance.picture() == before and instance.status()["taken"] is None
    finally:
        if real:
            instance.namespace.run("chattr", "-i", path)


def test_without_rights(instance):
    in_a_vpc(instance)
    before = instance.picture()
    instance.namespace.run("cp", binary(), "/run/a-copy")
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/run/a-copy", "resolver", "take"]
    done = instance.namespace.run(*words, "--metadata", "off", check=False)
    assert done.returncode == 71 and "run this as root" in done.stderr, done.stderr
    assert instance.picture() == before


def test_a_take_keeps_the_search_domains_known(instance):
    """One that only the present servers know, beside an upstream that knows public names."""

    def knows_more(asked):
        return asked.response() if asked.name == "corp.internal" else cloud(asked)

    instance.manager("plain")
    instance.file("resolv.conf", f"search corp.internal\nnameserver {RESOLVERS[0]}\n")
    instance.cloud(knows_more, RESOLVERS[:1])
    instance.cloud(cloud, RESOLVERS[1:])
    instance.config(f'{SYSTEM}[upstream]\nservers = ["{RESOLVERS[1]}"]\n')
    server = instance.start(metadata="off")
    before = instance.picture()
    refused = instance.pvtzd("resolver", "take", "--metadata", "off", code=1)
    assert "does not resolve a search domain" in refused.stderr and "corp.internal gets NXDOMAIN" in refused.stderr
    assert f"list {RESOLVERS[0]}" in refused.stderr and instance.picture() == before
    server.stop()
    instance.config(f'{SYSTEM}[upstream]\nservers = ["{RESOLVERS[0]}"]\n')
    instance.start(metadata="off")
    instance.pvtzd("resolver", "take", "--metadata", "off", code=0)


def test_a_pipe_in_the_place_of_resolv_conf_hinders_neither_start_nor_end(instance):
    instance.namespace.run("mkfifo", "/etc/resolv.conf")
    instance.config(SYSTEM)
    server = instance.start(metadata="off")
    assert "cannot read /etc/resolv.conf: it is a pipe, not a regular file" in server.log, server.log
    assert instance.ask("localhost").rcode == "NOERROR"
    refused = instance.pvtzd("resolver", "take", "--metadata", "off", "--force", code=71)
    assert "not a regular file" in refused.stderr
    assert instance.pvtzd("resolver", "status", "--json").returncode == 71
    server.stop()


def test_json(instance):
    in_a_vpc(instance)
    plan = json.loads(instance.pvtzd("resolver", "take", "--dry-run", "--json", code=0).stdout)
    assert plan["manager"] == "plain" and plan["steps"][0]["path"] == "/etc/resolv.conf"
    json.loads(instance.pvtzd("resolver", "take", "--json", code=0).stdout)
    standing = instance.status(code=0)
    assert standing["taken"]["upstream"] == list(RESOLVERS) and standing["nameservers"] == [US]
    given = json.loads(instance.pvtzd("resolver", "give-back", "--json", code=0).stdout)
    assert given["places"] == [{"path": "/etc/resolv.conf", "state": "ours"}]
    until(lambda: instance.status(code=0)["taken"] is None, "nothing is taken")
