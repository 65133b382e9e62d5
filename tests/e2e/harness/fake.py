"""A scripted upstream: a function decides what becomes of each query."""

import collections
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

PROBE = "pvtzd-loop."  # pvtzd asks each upstream such names to see whether it leads back


class Asked:
    """One query as the upstream got it."""

    def __init__(self, message, transport, packet, reply):
        self.message = message
        self.transport = transport
        self.packet = packet
        self.reply_to = reply  # sends more octets, over the same socket
        self.name = message.question[0].name.to_text(omit_final_dot=True).lower()
        self.rtype = dns.rdatatype.to_text(message.question[0].rdtype)

    def response(self, *records, rcode="NOERROR", authority=(), flags=0):
        """An answer with records written `name ttl IN TYPE value`."""
        answer = dns.message.make_response(self.message, recursion_available=True)
        answer.set_rcode(dns.rcode.from_text(rcode))
        answer.flags |= flags
        for section, lines in ((answer.answer, records), (answer.authority, authority)):
            for line in lines:
                owner, ttl, rclass, rtype, value = line.split(" ", 4)
                owner = self.message.question[0].name if owner == "@" else owner
                section.append(dns.rrset.from_text(owner, int(ttl), rclass, rtype, *value.split(" | ")))
        return answer


def address(value="192.0.2.1", ttl=60):
    """Answers every A question with this address, others with NODATA."""

    def script(asked):
        if asked.rtype != "A":
            return asked.response(authority=[soa()])
        return asked.response(f"@ {ttl} IN A {value}")

    return script


def rcode(word):
    """Answers everything with this code."""
    return lambda asked: asked.response(rcode=word)


def nxdomain(ttl=60, minimum=60):
    """Denies every name."""
    return lambda asked: asked.response(rcode="NXDOMAIN", authority=[soa(ttl, minimum)])


def silent(_asked):
    """Says nothing."""
    return None


def soa(ttl=60, minimum=60):
    return f"test. {ttl} IN SOA ns.test. hostmaster.test. 1 3600 600 86400 {minimum}"


class Fake:
    """A server on a loopback address, UDP and TCP on one port, that answers by `script(asked)`.

    The script returns a message, octets, a list of either (UDP only), or None for silence. It may block: each
    query has a thread.
    """

    def __init__(self, script, host="127.0.0.1", port=0):
        self.script = script
        self.host = host
        self.port = port
        self.log = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(64)
        self._open = False
        self.start()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def start(self):
        """Opens the sockets: on the port it had before, if it had one."""
        for _ in range(50):
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            tcp = socket.socket(family, socket.SOCK_STREAM)
            udp = socket.socket(family, socket.SOCK_DGRAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(self._at(self.port))
                udp.bind(self._at(self.port or tcp.getsockname()[1]))
                break
            except OSError:
                tcp.close()
                udp.close()
                if self.port:
                    raise
        else:
            raise AssertionError("no free port")
        tcp.listen(128)
        self.port = tcp.getsockname()[1]
        self._udp, self._tcp, self._open = udp, tcp, True
        self._connections = []
        for target, sock in ((self._serve_udp, udp), (self._serve_tcp, tcp)):
            threading.Thread(target=target, args=(sock,), daemon=True).start()

    def _at(self, port):
        """Where to bind; a host like fe80::53%eth0 has the number of its interface in it."""
        return socket.getaddrinfo(self.host, port, type=socket.SOCK_STREAM)[0][4]

    def stop(self):
        """Closes the sockets: the machine then refuses what comes."""
        if not self._open:
            return
        self._open = False
        for sock in (self._udp, self._tcp, *self._connections):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def close(self):
        self.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def questions(self, name=None, transport=None):
        """What was asked, pvtzd's own probes left out: `(transport, name, type)`."""
        with self._lock:
            log = list(self.log)
        return [
            (asked.transport, asked.name, asked.rtype)
            for asked in log
            if (name is None or asked.name == name) and (transport is None or asked.transport == transport)
        ]

    def count(self, name=None, transport=None):
        return len(self.questions(name, transport))

    def tally(self):
        """How often each name was asked."""
        return collections.Counter(name for _, name, _ in self.questions())

    def _note(self, packet, transport, reply):
        try:
            asked = Asked(dns.message.from_wire(packet), transport, packet, reply)
        except Exception:
            return None
        if asked.name.endswith(PROBE.rstrip(".")):
            return asked.response(rcode="NXDOMAIN").to_wire()
        if asked.name.strip(".") or asked.rtype != "NS":  # pvtzd asks a server that is down for `. NS`
            with self._lock:
                self.log.append(asked)
        return asked

    def _serve_udp(self, sock):
        while self._open:
            try:
                packet, peer = sock.recvfrom(65535)
            except OSError:
                if not self._open:
                    return
                continue
            self._submit(self._answer_udp, sock, packet, peer)

    def _submit(self, *work):
        try:
            self._pool.submit(*work)
        except RuntimeError:
            pass  # closed meanwhile

    def _answer_udp(self, sock, packet, peer):
        def reply(octets):
            try:
                sock.sendto(octets, peer)
            except OSError:
                pass

        asked = self._note(packet, "UDP", reply)
        if asked is None or isinstance(asked, bytes):
            return reply(asked) if asked else None
        asked.peer = peer
        answers = self.script(asked)
        for answer in answers if isinstance(answers, list) else [answers]:
            if answer is not None:
                reply(answer if isinstance(answer, bytes) else answer.to_wire(max_size=65535))
        return None

    def _serve_tcp(self, sock):
        while self._open:
            try:
                client, _ = sock.accept()
            except OSError:
                if not self._open:
                    return
                continue
            self._connections.append(client)
            self._submit(self._answer_tcp, client)

    def _answer_tcp(self, client):
        with client:
            stream = client.makefile("rb")
            while True:
                try:
                    head = stream.read(2)
                    if len(head) < 2:
                        return
                    packet = stream.read(struct.unpack("!H", head)[0])

                    def reply(octets):
                        client.sendall(struct.pack("!H", len(octets)) + octets)

                    asked = self._note(packet, "TCP", reply)
                    if asked is None:
                        return
                    answer = asked if isinstance(asked, bytes) else self.script(asked)
                    if answer is None:
                        continue
                    reply(answer if isinstance(answer, bytes) else answer.to_wire(max_size=65535))
                except OSError:
                    return
