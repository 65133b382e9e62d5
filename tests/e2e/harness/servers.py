"""Servers of other people: nsd as an authority, unbound and BIND as resolvers. Each on an address of its own."""

import subprocess

import dns.exception

from .ask import ask
from .process import Process, free_port
from .wait import until

SOA = "@ 300 IN SOA ns.lab. hostmaster.lab. 1 3600 600 86400 30\n@ 300 IN NS ns.lab.\n"


class Server(Process):
    """A server at `where` that is ready when it answers `probe`."""

    def __init__(self, command, where, probe, **options):
        self.where = where
        super().__init__(command, **options)
        try:
            until(lambda: self._answers(probe), f"{command[0]} answers {probe}", 20)
        except BaseException:
            self.kill()
            raise

    @property
    def address(self):
        return f"{self.where[0]}:{self.where[1]}"

    def _answers(self, probe):
        if not self.is_alive:
            self._reader.join(1)
            raise AssertionError(f"{self.command} ended with {self.process.returncode}:\n{self.log}")
        try:
            return ask(self.where, *probe, patience=0.3).rcode in ("NOERROR", "NXDOMAIN")
        except (OSError, dns.exception.DNSException):
            return False

    def ask(self, name, rtype="A", **kind):
        return ask(self.where, name, rtype, **kind)


def nsd(folder, zones, host="127.0.53.1", port=None):
    """nsd with zones `{apex: records}`; each zone is given a SOA with a minimum of 30 s. A path is a whole zone file."""
    port = port or free_port(host)
    folder.mkdir(parents=True, exist_ok=True)
    text = f"""
server:
    ip-address: {host}@{port}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    database: ""
    zonelistfile: "{folder}/zone.list"
    xfrdfile: "{folder}/xfrd.state"
    pidfile: ""
    minimal-responses: no
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""
    for number, (apex, records) in enumerate(zones.items()):
        file = records
        if isinstance(records, str):
            origin = "." if apex == "." else f"{apex}."
            file = folder / f"zone{number}"
            file.write_text(f"$ORIGIN {origin}\n$TTL 300\n{SOA}{records}")
        text += f'zone:\n    name: "{apex}"\n    zonefile: "{file}"\n'
    (folder / "nsd.conf").write_text(text)
    first = next(iter(zones))
    return Server(["nsd", "-d", "-c", folder / "nsd.conf"], (host, port), (first, "SOA"))


def sign(folder, apex, records, nsec3=False):
    """A zone file signed with fresh keys, and a file with its trust anchor in BIND's and unbound's form."""
    folder.mkdir(parents=True, exist_ok=True)

    def run(*words):
        subprocess.run([*map(str, words)], cwd=folder, check=True, capture_output=True, timeout=60)

    for flags in (["-f", "KSK"], []):
        run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", *flags, apex)
    (folder / "plain").write_text(f"$ORIGIN {apex}.\n$TTL 300\n{SOA}{records}")
    denial = ["-3", "-", "-H", "0"] if nsec3 else []
    run("dnssec-signzone", "-S", *denial, "-o", apex, "-f", "signed", "plain")
    key = next(
        line.split(None, 6)
        for file in folder.glob("K*.key")
        for line in file.read_text().splitlines()
        if " DNSKEY 257 " in line
    )
    (folder / "anchor").write_text(" ".join(key) + "\n")
    flags, protocol, algorithm, data = key[-4:]
    text = f'trust-anchors {{ {apex}. static-key {flags} {protocol} {algorithm} "{data.replace(" ", "")}"; }};\n'
    (folder / "anchor.bind").write_text(text)
    return folder / "signed"


def unbound(folder, authority, extra="", rpz=None, host="127.0.53.2", forwards=False):
    """unbound that resolves recursively, with `authority` as the root of everything; or forwards all to it."""
    port = free_port(host)
    folder.mkdir(parents=True, exist_ok=True)
    policy = ""
    if rpz is not None:
        (folder / "policy").write_text(f"$ORIGIN policy.\n$TTL 60\n{SOA}{rpz}")
        policy = f'rpz:\n    name: "policy"\n    zonefile: "{folder}/policy"\n'
    (folder / "unbound.conf").write_text(f"""
server:
    interface: {host}@{port}
    access-control: 127.0.0.0/8 allow
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    logfile: ""
    num-threads: 1
    do-ip6: no
    do-not-query-localhost: no
    module-config: "respip iterator"
    qname-minimisation: no
    unblock-lan-zones: yes
    insecure-lan-zones: yes
    edns-buffer-size: 1232
    local-zone: "test." nodefault
{extra}
remote-control:
    control-enable: no
{"forward" if forwards else "stub"}-zone:
    name: "."
    {"forward" if forwards else "stub"}-addr: {authority.where[0]}@{authority.where[1]}
{policy}""")
    return Server(["unbound", "-d", "-p", "-c", folder / "unbound.conf"], (host, port), (".", "SOA"))


def bind(folder, authority, rpz, host="127.0.0.1"):
    """BIND with a response policy, forwarding to `authority`. It listens on addresses of interfaces only."""
    port = free_port(host)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy").write_text(f"$ORIGIN policy.\n$TTL 60\n{SOA}{rpz}")
    # only forwarders are asked; were it otherwise, the root would be here and not in the world
    (folder / "hints").write_text(f". 3600 IN NS ns.lab.\nns.lab. 3600 IN A {authority.where[0]}\n")
    (folder / "named.conf").write_text(f"""
options {{
    directory "{folder}";
    pid-file none;
    session-keyfile none;
    lock-file none;
    managed-keys-directory "{folder}";
    listen-on port {port} {{ {host}; }};
    listen-on-v6 {{ none; }};
    recursion yes;
    allow-query {{ 127.0.0.0/8; }};
    allow-recursion {{ 127.0.0.0/8; }};
    dnssec-validation no;
    max-records-per-type 0;
    empty-zones-enable no;
    qname-minimization off;
    forward only;
    forwarders port {authority.where[1]} {{ {authority.where[0]}; }};
    response-policy {{ zone "policy" max-policy-ttl 86400; }} qname-wait-recurse no break-dnssec yes;
}};
controls {{ }};
zone "." {{ type hint; file "hints"; }};
zone "policy" {{ type primary; file "policy"; notify no; }};
""")
    command = ["named", "-g", "-n", "1", "-c", folder / "named.conf"]
    return Server(command, (host, port), (".", "SOA"))
