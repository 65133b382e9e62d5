"""An ECS instance as the tests have it: a machine of its own with a private /etc, the VPC's resolvers, the metadata
service and the API around it, and, if wanted, something that manages its resolv.conf."""

import json
import os
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from .ask import ask
from .fake import Fake, address, nxdomain
from .process import ROOT, Process, Pvtzd, binary

RESOLVERS = ("100.100.2.136", "100.100.2.138")
METADATA = "100.100.100.200"
GATEWAY = "100.100.0.1"
STS = "100.100.0.2"
US = "127.0.0.1"
OURS = (US, 53)
STUB = "127.0.0.53"

# The names whose certificate the API presents.
API_NAMES = [
    "ecs.cn-hangzhou.aliyuncs.com",
    "ecs-cn-hangzhou.aliyuncs.com",
    "ecs.aliyuncs.com",
    "sts.cn-hangzhou.aliyuncs.com",
    "sts.aliyuncs.com",
]

PUBLIC = {
    "popunify-vpc.cn-hangzhou.aliyuncs.com": GATEWAY,
    "sts-vpc.cn-hangzhou.aliyuncs.com": STS,
    "ecs.cn-hangzhou.aliyuncs.com": "203.0.113.2",
    "ecs-cn-hangzhou.aliyuncs.com": "203.0.113.2",
    "ecs.aliyuncs.com": "203.0.113.2",
    "sts.cn-hangzhou.aliyuncs.com": "203.0.113.3",
    "sts.aliyuncs.com": "203.0.113.3",
    "www.test": "192.0.2.80",
}


def cloud(asked):
    """The resolver inside a VPC without PrivateZone."""
    found = PUBLIC.get(asked.name)
    if found and asked.rtype == "A":
        return asked.response(f"@ 60 IN A {found}")
    return address()(asked) if found or asked.name == "aliyuncs.com" else nxdomain()(asked)


def private_zone(asked):
    """The same with PrivateZone: the API names lead to the gateway."""
    if asked.name in API_NAMES and asked.rtype == "A":
        return asked.response(f"@ 60 IN A {GATEWAY}")
    return cloud(asked)


SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >> {fake}/log
case "$1" in
is-active) grep -qx "$3" {fake}/running; exit ;;
esac
[ -e {fake}/kill ] && {{ kill -9 $PPID; exit 1; }}
[ -e {fake}/fail ] && {{ echo "Unit is masked." >&2; exit 1; }}
[ -e {fake}/deaf ] && exit 0
case "$2" in
systemd-resolved) cat /etc/systemd/resolved.conf /etc/systemd/resolved.conf.d/*.conf 2>/dev/null > {fake}/loaded ;;
NetworkManager) grep -qs '^dns=none' /etc/NetworkManager/conf.d/* || cat {fake}/generated > /etc/resolv.conf ;;
esac
exit 0
"""

RESOLVECTL = """#!/bin/sh
last() {{
    all=
    while IFS='=' read -r key value; do
        [ "$key" = "$1" ] && all="${{value:+$all $value}}"
    done < {fake}/loaded
    echo $all
}}
case "$1" in
dns) echo "Global: $(last DNS)"; echo "Link 2 (eth0): {servers}" ;;
domain) echo "Global: $(last Domains)"; echo "Link 2 (eth0):" ;;
esac
exit 0
"""


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Instance:
    """A machine in a VPC. `instance.manager(name)` gives it something that manages its resolv.conf."""

    def __init__(self, namespace, folder):
        self.namespace = namespace
        self.etc = folder / "etc"
        self.fake = folder / "fake"
        self.made = []
        self.fake.mkdir()
        self._make_etc()
        namespace.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
        self.environment = {
            "PATH": f"{self.fake}:/usr/sbin:/usr/bin:/sbin:/bin",
            "SSL_CERT_FILE": str(folder / "ca.pem"),
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "",
        }
        self.folder = folder
        (self.fake / "running").write_text("")
        (self.fake / "loaded").write_text("")
        self.program("systemctl", SYSTEMCTL.format(fake=self.fake))
        self.program("lsattr", "#!/bin/sh\nexit 1\n")

    def _make_etc(self):
        """A small /etc in place of the machine's."""
        for target in ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"):
            self.namespace.run("umount", target)
        self.etc.mkdir()
        for name in ("passwd", "group", "ld.so.cache", "ld.so.conf", "protocols", "services"):
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), self.etc / name)
        self.file("hosts", "127.0.0.1 localhost\n")
        self.file("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
        self.namespace.run("mount", "--bind", self.etc, "/etc")

    # what is on it

    def file(self, name, text):
        """Writes a file of /etc."""
        path = self.etc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def link(self, name, target):
        """Makes a link in /etc."""
        (self.etc / name).symlink_to(target)

    def program(self, name, text):
        """A program that is found before the system's."""
        path = self.fake / name
        path.write_text(text)
        path.chmod(0o755)

    def picture(self):
        """All of /etc: links, octets, modes."""
        found = {}
        for path in sorted(self.etc.rglob("*")):
            name = str(path.relative_to(self.etc))
            if path.is_symlink():
                found[name] = f"-> {os.readlink(path)}"
            elif path.is_dir():
                found[name] = "folder"
            else:
                found[name] = (oct(path.stat().st_mode), path.read_bytes())
        return found

    def manager(self, name):
        """Something that manages resolv.conf."""
        getattr(self, f"_{name.replace('-', '_')}")()

    def _plain(self, text=None):
        servers = "".join(f"nameserver {ip}\n" for ip in RESOLVERS)
        self.file("resolv.conf", text or f"# by hand\nsearch vpc.test\n{servers}options timeout:2 attempts:3 rotate\n")

    def _container(self):
        """A file that is mounted over: it cannot be replaced."""
        self._plain()
        outside = self.folder / "outside-resolv.conf"
        shutil.copy(self.etc / "resolv.conf", outside)
        self.namespace.run("mount", "--bind", outside, "/etc/resolv.conf")
        self.mounted = outside

    def _cloud_init(self):
        self._plain("# Created by cloud-init on instance boot automatically, do not edit.\nnameserver 100.100.2.136\n")
        self.file("cloud/cloud.cfg", "manage_resolv_conf: true\n")
        (self.etc / "cloud/cloud.cfg.d").mkdir()

    def _dhclient(self):
        self._plain("; generated by /usr/sbin/dhclient-script\nsearch vpc.test\nnameserver 100.100.2.136\n")
        self.file("dhcp/dhclient.conf", "timeout 300;\nrequest subnet-mask, domain-name-servers;\n")
        (self.etc / "dhcp/dhclient-enter-hooks.d").mkdir()

    def _network_manager(self):
        text = "# Generated by NetworkManager\nsearch vpc.test\nnameserver 100.100.2.136\nnameserver 100.100.2.138\n"
        self._plain(text)
        (self.fake / "generated").write_text(text)
        self.file("NetworkManager/NetworkManager.conf", "[main]\nplugins=keyfile\n")
        (self.fake / "running").write_text("NetworkManager\n")

    def _networkd(self):
        """As netplan makes it on Ubuntu: networkd tells resolved what DHCP said."""
        self._resolved()
        (self.fake / "running").write_text("systemd-resolved\nsystemd-networkd\n")

    def _resolved(self):
        """A stand-in for systemd-resolved that knows DNS=, Domains= and the servers of one interface."""
        self.link("resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
        self.file("systemd/resolved.conf", "[Resolve]\n#DNS=\nDomains=vpc.test\n")
        run = self.namespace.run
        run("mkdir", "-p", "/run/systemd/resolve")
        run("sh", "-c", f"echo 'nameserver {STUB}' > /run/systemd/resolve/stub-resolv.conf")
        servers = "\\n".join(f"nameserver {ip}" for ip in RESOLVERS)
        run("sh", "-c", f"printf '{servers}\\n' > /run/systemd/resolve/resolv.conf")
        self.program("resolvectl", RESOLVECTL.format(fake=self.fake, servers=" ".join(RESOLVERS)))
        (self.fake / "running").write_text("systemd-resolved\n")
        (self.fake / "loaded").write_text("[Resolve]\nDomains=vpc.test\n")
        with self.namespace.inside():
            self.made.append(Fake(self._route, host=STUB, port=53))
        self.stub = self.made[-1]

    def _route(self, asked):
        """Where systemd-resolved would send a question."""
        settings = {"DNS": [], "Domains": []}
        for line in (self.fake / "loaded").read_text().splitlines():
            key, _, value = line.partition("=")
            if key in settings:
                settings[key] = settings[key] + value.split() if value else []
        routes = [domain[1:].strip(".") for domain in settings["Domains"] if domain.startswith("~")]
        ours = any(not route or asked.name == route or asked.name.endswith("." + route) for route in routes)
        server = settings["DNS"][0] if settings["DNS"] and ours else RESOLVERS[0]
        message = dns.message.from_wire(asked.packet)
        with self.namespace.inside():
            try:
                return dns.query.udp(message, server, 5)
            except (OSError, dns.exception.DNSException):
                return asked.response(rcode="SERVFAIL")

    # what is around it

    def cloud(self, script=cloud, resolvers=RESOLVERS):
        """The VPC's resolvers."""
        for ip in resolvers:
            self.namespace.address(ip)
            with self.namespace.inside():
                self.made.append(Fake(script, host=ip, port=53))
        return self.made[-len(resolvers) :]

    def metadata(self, region="cn-hangzhou"):
        """The metadata service."""
        items = {"/latest/meta-data/region-id": region, "/latest/meta-data/vpc-id": "vpc-bp1stub"}

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_PUT(self):
                self.send_error(404)

            def do_GET(self):
                body = items.get(self.path, "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._http(METADATA, 80, Handler)

    def api(self, names=API_NAMES, addresses=(GATEWAY, STS)):
        """The API behind the gateways, with a certificate for these names that the machine trusts."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._certificate(names))
        for ip in addresses:
            self._http(ip, 443, BaseHTTPRequestHandler, context)

    def _http(self, ip, port, handler, context=None):
        class Server(ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # clients that only look

        self.namespace.address(ip)
        with self.namespace.inside():
            service = Server((ip, port), handler)
        if context:
            service.socket = context.wrap_socket(service.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=service.serve_forever, daemon=True).start()
        self.made.append(service)

    def _certificate(self, names):
        """A certificate for the names, by a CA that the machine trusts: (certificate, key)."""
        at = {name: str(self.folder / name) for name in ("ca.pem", "ca.key", "api.pem", "api.key", "api.csr", "ext")}

        self._authority(at["ca.pem"], at["ca.key"])
        openssl("req", *KEY, "-keyout", at["api.key"], "-out", at["api.csr"], "-subj", "/CN=api")
        alternatives = ",".join(f"DNS:{name}" for name in names)
        Path(at["ext"]).write_text(f"subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\n")
        signing = ("-CA", at["ca.pem"], "-CAkey", at["ca.key"], "-CAcreateserial", "-extfile", at["ext"])
        openssl("x509", "-req", "-in", at["api.csr"], *signing, "-days", "2", "-out", at["api.pem"])
        return at["api.pem"], at["api.key"]

    def _authority(self, certificate, key):
        self_signed = ("-x509", "-days", "2", "-subj", "/CN=test")
        openssl("req", *self_signed, *KEY, "-keyout", key, "-out", certificate)

    def other_authority(self):
        """The certificate of a CA that has signed nothing here."""
        path = self.folder / "other.pem"
        self._authority(str(path), str(self.folder / "other.key"))
        return path

    # pvtzd on it

    def config(self, text=None):
        """Its configuration; the fallback sample unless another is given."""
        self.file("pvtzd/pvtzd.toml", text or (ROOT / "config" / "fallback.toml").read_text())

    def start(self, **options):
        """Starts pvtzd, by its configuration."""
        options = {"listen": (), "metadata": f"{METADATA}:80", "prefix": self.namespace.prefix, **options}
        server = Pvtzd("/etc/pvtzd/pvtzd.toml", **options)
        self.made.append(server)
        return server

    def pvtzd(self, *words, code=None, wait=30):
        """Runs a command of pvtzd on it."""
        settings = [f"{key}={value}" for key, value in self.environment.items()]
        command = [*self.namespace.prefix, "env", *settings, str(binary()), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=wait, check=False)
        assert code is None or done.returncode == code, f"{words} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def status(self, code=None):
        return json.loads(self.pvtzd("resolver", "status", "--json", code=code).stdout)

    def doctor(self, *words, code=None):
        """The doctor's report: outcomes by step, and all checks."""
        done = self.pvtzd("doctor", "--json", *words, code=code)
        checks = json.loads(done.stdout)["checks"]
        by_step = {}
        for check in checks:
            by_step.setdefault(check["step"], []).append(check["outcome"])
        return by_step, checks

    def ask(self, name, rtype="A", where=OURS, **kind):
        with self.namespace.inside():
            return ask(where, name, rtype, **kind)

    def getent(self, name):
        """What programs get for a name."""
        done = self.namespace.run("getent", "ahostsv4", name, check=False)
        return sorted({line.split()[0] for line in done.stdout.splitlines()})

    def close(self):
        for one in reversed(self.made):
            if isinstance(one, Process):
                one.kill()
            elif isinstance(one, Fake):
                one.close()
            else:
                one.shutdown()
                one.server_close()
