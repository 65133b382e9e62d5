"""Asking a DNS server, and answers in a form that a test can state in a line."""

import contextlib
import random
import socket
import struct
import subprocess
import time

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

PATIENCE = 6.0  # pvtzd answers within 4 s


class Answer:
    """A DNS answer. `records` has a line `name TYPE value` for each record of the answer section."""

    def __init__(self, message, elapsed=0.0):
        self.message = message
        self.elapsed = elapsed
        self.rcode = dns.rcode.to_text(message.rcode())
        self.flags = set(dns.flags.to_text(message.flags).lower().split())
        self.records = list(_lines(message.answer))
        self.authority = list(_lines(message.authority))
        self.ttls = [rrset.ttl for rrset in message.answer for _ in rrset]
        self.ttl = self.ttls[0] if self.ttls else None
        self.negative_ttl = message.authority[0].ttl if message.authority else None

    @property
    def values(self):
        """What the records say, without names and types."""
        return [line.split(" ", 2)[2] for line in self.records]

    @property
    def addresses(self):
        """The values of the A and AAAA records, in order."""
        return [line.split(" ", 2)[2] for line in self.records if line.split(" ")[1] in ("A", "AAAA")]

    @property
    def is_nodata(self):
        """NOERROR and nothing to show for it."""
        return self.rcode == "NOERROR" and not self.records

    @property
    def ede(self):
        """The codes of the extended DNS errors (RFC 8914)."""
        return [int(option.code) for option in self._errors()]

    @property
    def ede_text(self):
        """The words of the extended DNS errors."""
        return " ".join(option.text or "" for option in self._errors())

    def _errors(self):
        return [option for option in self.message.options if isinstance(option, dns.edns.EDEOption)]

    def __repr__(self):
        flags = " ".join(sorted(self.flags))
        return f"<{self.rcode} [{flags}] {self.records} / {self.authority} ede={self.ede} {self.ede_text!r}>"


def _lines(section):
    for rrset in section:
        for rdata in rrset:
            name = rrset.name.to_text(omit_final_dot=True)
            yield f"{name} {dns.rdatatype.to_text(rrset.rdtype)} {show(rdata)}"


def show(rdata):
    """A value, names in it without their final dot."""
    text = rdata.to_text()
    return " ".join(word.rstrip(".") if len(word) > 1 else word for word in text.split(" "))


def query(name, rtype="A", *, rclass="IN", edns=True, payload=1232, do=False, rd=True, cd=False, ad=False):
    """A query message."""
    extra = {"use_edns": 0, "payload": payload, "want_dnssec": do} if edns else {"use_edns": False}
    message = dns.message.make_query(name, rtype, rclass, **extra)
    message.flags = 0
    for wanted, flag in ((rd, dns.flags.RD), (cd, dns.flags.CD), (ad, dns.flags.AD)):
        message.flags |= flag if wanted else 0
    return message


def ask(where, name, rtype="A", *, source=None, tcp=False, patience=PATIENCE, **kind):
    """Asks the server at `(address, port)` and returns its [`Answer`]."""
    message = query(name, rtype, **kind)
    begun = time.monotonic()
    if tcp:
        answer = dns.query.tcp(message, where[0], patience, where[1], source=source)
    else:
        # a late datagram of another server may be for whoever had this port before
        answer = dns.query.udp(message, where[0], patience, where[1], source=source, ignore_unexpected=True)
    return Answer(answer, time.monotonic() - begun)


def exchange(where, packet, *, source=None, patience=PATIENCE):
    """Sends octets in a datagram; the octets that come back, or None."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if source:
            sock.bind((source, 0))
        sock.connect(where)
        sock.settimeout(patience)
        sock.send(packet)
        try:
            return sock.recv(65535)
        except (TimeoutError, socket.timeout):
            return None


@contextlib.contextmanager
def connection(where, source=None, patience=PATIENCE):
    """A TCP connection to a server."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(patience)
        if source:
            sock.bind((source, 0))
        sock.connect(where)
        yield sock


def frame(packet):
    """A message as it goes over TCP."""
    return struct.pack("!H", len(packet)) + packet


def receive(sock):
    """The next message of a TCP connection; None at its end."""
    head = _read(sock, 2)
    if head is None:
        return None
    body = _read(sock, struct.unpack("!H", head)[0])
    return None if body is None else Answer(dns.message.from_wire(body))


def _read(sock, length):
    data = b""
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            return None
        data += more
    return data


def random_id():
    """An id for a query."""
    return random.randrange(65536)


def dig(where, *words, source=None):
    """What dig prints: the lines of its answer section, `name ttl IN TYPE value`, and its status."""
    command = ["dig", f"@{where[0]}", "-p", str(where[1]), "+tries=1", "+timeout=6", *words]
    if source:
        command += ["-b", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return Dug(done.stdout)


class Dug:
    """The output of dig."""

    def __init__(self, text):
        self.text = text
        self.status = text.split("status: ", 1)[1].split(",", 1)[0] if "status: " in text else None
        self.answer = []
        inside = False
        for line in text.splitlines():
            if line.startswith(";; ANSWER SECTION"):
                inside = True
            elif inside and not line.strip():
                inside = False
            elif inside:
                self.answer.append(" ".join(line.split()))
