"""Primaries of secondary zones: nsd, BIND and Knot, each with a zone that changes, NOTIFY, and TSIG if it is wanted."""

import signal

from .servers import Server

APEX = "corp.test"
HOST = "127.0.0.1"  # what they send NOTIFY from is what they listen on
SECRET = {
    "hmac-sha256": "c2VjcmV0LW9mLXRoaXJ0eS10d28tb2N0ZXRzLWhlcmUhIQ==",
    "hmac-sha384": "c2VjcmV0LW9mLWZvcnR5LWVpZ2h0LW9jdGV0cy13aGljaC1pcy1sb25nZXItdGhhbi0zMg==",
    "hmac-sha512": "c2VjcmV0LW9mLXNpeHR5LWZvdXItb2N0ZXRzLXdoaWNoLWlzLXRoZS1sb25nZXN0LW9mLWFsbC10aHJlZSE=",
}


class Key:
    """A TSIG key."""

    def __init__(self, algorithm="hmac-sha256", name="transfer.test", secret=None):
        self.algorithm, self.name = algorithm, name
        self.secret = secret or SECRET[algorithm]

    @property
    def toml(self):
        return f'[[tsig]]\nname = "{self.name}"\nalgorithm = "{self.algorithm}"\nsecret = "{self.secret}"\n'


class PrimaryServer:
    """A primary of `corp.test`; `publish` gives its zone other records, and the next serial."""

    def __init__(self, kind, folder, port, notify, key, records, timers):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.key, self.timers = folder, port, key, timers
        self.file, self.serial, self.server = folder / "zone", 0, None
        self.kind, self.notify = kind, notify
        self._write(records)
        self.start()

    def start(self):
        """Starts it, again too."""
        command = {"nsd": self._nsd, "bind": self._bind, "knot": self._knot}[self.kind]()
        self.server = Server(command, (HOST, self.port), (APEX, "SOA"))

    def _write(self, records, serial=None):
        self.serial = serial or self.serial + 1
        refresh, retry, expire = self.timers
        soa = f"@ 300 IN SOA ns.lab. host.lab. {self.serial} {refresh} {retry} {expire} 30\n@ 300 IN NS ns.lab.\n"
        fresh = self.folder / "zone.new"
        fresh.write_text(f"$ORIGIN {APEX}.\n$TTL 300\n{soa}{records}")
        fresh.rename(self.file)

    def publish(self, records, serial=None):
        """Another version of the zone. Versions are told apart by their serial."""
        self._write(records, serial)
        self.server.send(signal.SIGHUP)

    def kill(self):
        self.server.kill()

    @property
    def address(self):
        return f"{HOST}:{self.port}"

    def _nsd(self):
        name = self.key.name if self.key else "NOKEY"
        text = f"""
server:
    ip-address: {HOST}@{self.port}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{self.folder}"
    database: ""
    zonelistfile: "{self.folder}/zone.list"
    xfrdfile: "{self.folder}/xfrd.state"
    xfrdir: "{self.folder}"
    pidfile: ""
    rrl-ratelimit: 0
remote-control:
    control-enable: no
"""
        if self.key:
            key = self.key
            text += f'key:\n    name: "{key.name}"\n    algorithm: {key.algorithm}\n    secret: "{key.secret}"\n'
        text += f"""zone:
    name: "{APEX}"
    zonefile: "{self.file}"
    store-ixfr: yes
    create-ixfr: yes
    provide-xfr: 127.0.0.0/8 {name}
    notify: {HOST}@{self.notify} {name}
    notify-retry: 5
"""
        (self.folder / "nsd.conf").write_text(text)
        return ["nsd", "-d", "-c", self.folder / "nsd.conf"]

    def _bind(self):
        key, transfer, notify = "", "127.0.0.0/8;", f"{HOST} port {self.notify}"
        if self.key:
            it = self.key
            key = f'key "{it.name}" {{ algorithm {it.algorithm}; secret "{it.secret}"; }};\n'
            transfer, notify = f'key "{it.name}";', f'{notify} key "{it.name}"'
        (self.folder / "named.conf").write_text(f"""{key}
options {{
    directory "{self.folder}";
    pid-file none;
    session-keyfile none;
    lock-file none;
    managed-keys-directory "{self.folder}";
    listen-on port {self.port} {{ {HOST}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    notify explicit;
    notify-delay 0;
    startup-notify-rate 1000;
    notify-rate 1000;
    max-ixfr-ratio unlimited;
    min-refresh-time 1;
    min-retry-time 1;
}};
controls {{ }};
zone "{APEX}" {{
    type primary;
    file "{self.file}";
    ixfr-from-differences yes;
    allow-transfer {{ {transfer} }};
    also-notify {{ {notify}; }};
}};
""")
        return ["named", "-g", "-n", "1", "-c", self.folder / "named.conf"]

    def _knot(self):
        key, acl, remote = "", f"    address: 127.0.0.0/8\n", ""
        if self.key:
            it = self.key
            key = f"key:\n  - id: {it.name}\n    algorithm: {it.algorithm}\n    secret: {it.secret}\n"
            acl, remote = f"    key: {it.name}\n", f"    key: {it.name}\n"
        (self.folder / "knot.conf").write_text(f"""
server:
    rundir: "{self.folder}"
    listen: {HOST}@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{self.folder}"
    journal-db-max-size: 10M
    kasp-db-max-size: 10M
    timer-db-max-size: 10M
    catalog-db-max-size: 10M
log:
  - target: stderr
    any: info
{key}
remote:
  - id: pvtzd
    address: {HOST}@{self.notify}
{remote}
acl:
  - id: transfer
{acl}    action: transfer
zone:
  - domain: {APEX}
    file: "{self.file}"
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: changes
    notify: pvtzd
    acl: transfer
""")
        return ["knotd", "-c", self.folder / "knot.conf"]
