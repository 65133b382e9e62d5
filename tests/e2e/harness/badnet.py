"""A bad network between pvtzd and one server: it loses, delays, doubles and reorders, or is not there at all.

A relay in user space, since not every kernel can do that to a link. It is deterministic: what becomes of a datagram
depends on the seed, the direction, the name in it, and how many of that name there were before.
"""

import collections
import heapq
import random
import selectors
import socket
import threading
import time

CLIENTS = 512  # ports of pvtzd that are remembered


class BadNet:
    """A relay to the server at `where`, UDP and TCP on one port.

    `loss` and `double` are probabilities for each datagram each way, `delay` is in seconds each way, and `disorder`
    is what up to it varies by. All of them may be changed at any time. While `cut` is set nothing passes: datagrams
    vanish, and connections are accepted, but nobody is behind them.
    """

    def __init__(self, where, *, seed=1, loss=0.0, delay=0.0, disorder=0.0, double=0.0, host="127.0.0.1"):
        self.server, self.seed = where, seed
        self.loss, self.delay, self.disorder, self.double = loss, delay, disorder, double
        self.cut = False
        self.lost = self.passed = 0
        self._seen = collections.Counter()
        self._clients = collections.OrderedDict()  # address of a client: the socket that speaks for it
        self._due, self._number = [], 0
        self._open = True
        self._watch = selectors.DefaultSelector()
        self._udp, self._tcp = _bound(host)
        self.host, self.port = self._tcp.getsockname()
        self._watch.register(self._udp, selectors.EVENT_READ, self._from_client)
        self._watch.register(self._tcp, selectors.EVENT_READ, self._accept)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def close(self):
        self._open = False
        self._thread.join(5)
        for key in list(self._watch.get_map().values()):
            key.fileobj.close()
        self._watch.close()

    def _run(self):
        while self._open:
            pause = min(0.05, max(0.0, self._due[0][0] - time.monotonic())) if self._due else 0.05
            for key, _ in self._watch.select(pause):
                try:
                    key.data(key.fileobj)
                except OSError:
                    pass  # refused, reset or closed: that is a network's right
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, send = heapq.heappop(self._due)
                try:
                    send()
                except OSError:
                    pass

    # Datagrams.

    def _from_client(self, sock):
        packet, client = sock.recvfrom(65535)
        if client not in self._clients:
            back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            back.setblocking(False)
            back.connect(self.server)
            self._clients[client] = back
            self._watch.register(back, selectors.EVENT_READ, lambda back: self._from_server(back, client))
            if len(self._clients) > CLIENTS:
                _, oldest = self._clients.popitem(last=False)
                self._watch.unregister(oldest)
                oldest.close()
        back = self._clients[client]
        self._carry("there", packet, lambda: back.send(packet))

    def _from_server(self, back, client):
        packet = back.recv(65535)
        self._carry("back", packet, lambda: self._udp.sendto(packet, client))

    def _carry(self, direction, packet, send):
        """Sends a datagram on, as its fate will have it."""
        name = packet[12 : packet.find(b"\0", 12)].lower()
        self._seen[direction, name] += 1
        fate = random.Random(f"{self.seed} {direction} {name} {self._seen[direction, name]}")
        for _ in range(2 if fate.random() < self.double else 1):
            if self.cut or fate.random() < self.loss:
                self.lost += 1
                continue
            self.passed += 1
            self._later(self.delay + fate.random() * self.disorder, lambda: None if self.cut else send())

    def _later(self, pause, send):
        self._number += 1
        heapq.heappush(self._due, (time.monotonic() + pause, self._number, send))

    # Connections: octets are late, and neither lost nor out of order.

    def _accept(self, listener):
        client, _ = listener.accept()
        if self.cut:
            client.setblocking(False)
            self._watch.register(client, selectors.EVENT_READ, self._swallow)
            return
        server = socket.create_connection(self.server, timeout=2)
        for one, other in ((client, server), (server, client)):
            one.setblocking(False)
            self._watch.register(one, selectors.EVENT_READ, lambda one, other=other: self._pump(one, other))

    def _swallow(self, client):
        if not client.recv(65535):
            self._watch.unregister(client)
            client.close()

    def _pump(self, one, other):
        octets = one.recv(65535)
        if octets:
            self._later(self.delay, lambda: None if self.cut else other.sendall(octets))
            return
        self._watch.unregister(one)
        self._later(self.delay, lambda: other.shutdown(socket.SHUT_WR))


def _bound(host):
    """A UDP and a TCP socket on one port."""
    for _ in range(50):
        tcp, udp = socket.socket(socket.AF_INET, socket.SOCK_STREAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp.bind((host, 0))
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            udp.close()
            continue
        tcp.listen(128)
        udp.setblocking(False)
        tcp.setblocking(False)
        return udp, tcp
    raise AssertionError("no free port")
