"""A steady load of queries from one socket, by a client that asks again as resolvers do."""

import collections
import contextlib
import select
import socket
import struct
import threading
import time

RETRY = 5.0  # seconds, as glibc and others wait before they ask again
TRIES = 2
SO_RCVBUFFORCE = 33  # beyond net.core.rmem_max, which root may


class Load(threading.Thread):
    """While the context lasts, asks `where` for `n0.one.example` to `n999.one.example`, of which each has the one
    address `value`; at its end it waits until all is answered or given up.
    """

    def __init__(self, sock, where, rate, value):
        super().__init__(daemon=True)
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        sock.connect(where)
        sock.setblocking(False)
        self.sock, self.rate, self.expected = sock, rate, socket.inet_aton(value)
        self.over = threading.Event()
        self.asked = self.again = self.unanswered = 0
        self.wrong, self.slowest = [], 0.0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(RETRY * TRIES + 10)
        assert not self.is_alive()

    def run(self):
        waiting = {}  # id: (moment of the first try, moment of the last, tries)
        free = collections.deque(range(65536))
        begun = time.monotonic()
        while not self.over.is_set() or waiting:
            now = time.monotonic()
            due = 0 if self.over.is_set() else int((now - begun) * self.rate) - self.asked
            for _ in range(min(due, 200)):
                number = free.popleft()
                waiting[number] = (now, now, 1)
                self.send(number)
                self.asked += 1
            self.receive(waiting, free)
            for number in [number for number, (_, last, _) in waiting.items() if now - last > RETRY]:
                first, _, tries = waiting[number]
                if tries == TRIES:
                    del waiting[number]  # its id is not used again
                    self.unanswered += 1
                    continue
                waiting[number] = (first, now, tries + 1)
                self.again += 1
                self.send(number)

    def send(self, number):
        try:
            self.sock.send(struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + name_of(number) + b"\0\1\0\1")
        except ConnectionRefusedError:
            self.note("refused: nobody has the socket")

    def receive(self, waiting, free):
        if not select.select([self.sock], [], [], 0.001)[0]:
            return
        while True:
            try:
                packet = self.sock.recv(512)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                self.note("refused: nobody has the socket")
                continue
            number = int.from_bytes(packet[:2], "big")
            if number not in waiting:
                continue  # a second answer to what was asked twice
            first, _, _ = waiting.pop(number)
            free.append(number)
            self.slowest = max(self.slowest, time.monotonic() - first)
            right = packet[3] & 15 == 0 and packet[7] == 1 and packet[-4:] == self.expected
            if not right or not packet[12:].startswith(name_of(number)):
                self.note(packet.hex())

    def note(self, wrong):
        if len(self.wrong) < 10:
            self.wrong.append(wrong)


def name_of(number):
    """One of a thousand names."""
    label = b"n%d" % (number % 1000)
    return bytes([len(label)]) + label + b"\3one\7example\0"
