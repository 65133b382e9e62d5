"""What stands between pvtzd and etcd, and does with it as a test says.

A proxy ends HTTP/2 on both sides and hands each gRPC message to a rule, which drops, doubles, delays, changes or forges it.
Each stream of a client is one stream to the member.
"""

import asyncio
import contextlib
import socket
import struct
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

WATCH, TXN, RANGE = "/etcdserverpb.Watch/Watch", "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Range"


def varint(value):
    """A number as protobuf has it."""
    value &= (1 << 64) - 1
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def field(number, value):
    """A field: a number, octets, or a list of fields."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, (list, tuple)):
        value = b"".join(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def read_varint(octets, at):
    value = shift = 0
    while True:
        value |= (octets[at] & 0x7F) << shift
        shift += 7
        at += 1
        if octets[at - 1] < 0x80:
            return value, at


def fields(octets):
    """The fields of a message, as pairs."""
    at, found = 0, []
    while at < len(octets):
        tag, at = read_varint(octets, at)
        if tag & 7 == 0:
            value, at = read_varint(octets, at)
        else:
            assert tag & 7 == 2, tag
            length, at = read_varint(octets, at)
            value, at = octets[at : at + length], at + length
        found.append((tag >> 3, value))
    return found


def get(octets, *path, default=b""):
    """The first field at a path of numbers."""
    for number in path:
        octets = next((value for name, value in fields(octets) if name == number), None)
        if octets is None:
            return default
    return octets


def with_header(message, cluster=None, revision=None):
    """A message with another cluster id or revision in its header."""
    parts = []
    for number, value in fields(message):
        if number == 1:
            known = dict(fields(value))
            known[1] = known.get(1, 0) if cluster is None else cluster
            known[3] = known.get(3, 0) if revision is None else revision
            value = [field(name, of) for name, of in sorted(known.items())]
        parts.append(field(number, value))
    return b"".join(parts)


def header(cluster, revision):
    """The header of an answer."""
    return field(1, [field(1, cluster), field(2, 7), field(3, revision), field(4, 2)])


def events_of(message):
    """How many events an answer of a watch has."""
    return sum(number == 11 for number, _ in fields(message))


class Stream:
    """One call. `send` says something to the client, whatever the member says."""

    def __init__(self, link, path, down):
        self.link, self.path, self.down = link, path, down
        self.up, self.ended, self.open = None, False, True
        self.request, self.answer, self.from_client = bytearray(), bytearray(), []
        self.down_queue, self.up_queue = [], []

    def send(self, *messages):
        for message in messages:
            self.down_queue.append(b"\0" + struct.pack("!I", len(message)) + message)
        self.link.flush()

    def raw(self, octets):
        """Octets of the body as they are."""
        self.down_queue.append(octets)
        self.link.flush()


class Rule:
    """What is done; as it stands, nothing. Called on the proxy's thread."""

    async def connected(self, link):
        """True where the connection goes on as usual; else the rule has used it up."""
        return True

    def request(self, stream, message):
        """What goes to the member in place of a message."""
        return [message]

    def answer(self, stream, message):
        """What goes to the client in place of a message."""
        return [message]


class Link:
    """A client's connection, with one to the member."""

    def __init__(self, proxy, reader, writer):
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.streams, self.by_up = {}, {}
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8",
                                                                           validate_inbound_headers=False, validate_outbound_headers=False))
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", validate_inbound_headers=False,
                                                                           validate_outbound_headers=False))
        self.up_reader = self.up_writer = None
        self.stalled = False

    async def run(self):
        self.server.initiate_connection()
        self.up_reader, self.up_writer = await asyncio.open_connection("127.0.0.1", self.proxy.target)
        self.client.initiate_connection()
        self.flush()
        done, waiting = await asyncio.wait(
            [asyncio.ensure_future(self.pump(self.reader, self.server, self.from_client)),
             asyncio.ensure_future(self.pump(self.up_reader, self.client, self.from_member))], return_when=asyncio.FIRST_COMPLETED)
        for task in (*done, *waiting):
            task.cancel()
        self.close()

    def close(self):
        for writer in (self.writer, self.up_writer):
            if writer:
                writer.close()

    async def pump(self, reader, side, each):
        while data := await reader.read(65536):
            if self.stalled:
                continue
            for event in side.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    side.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                each(event)
            self.flush()
            with contextlib.suppress(ConnectionError):
                await self.writer.drain()

    def from_client(self, event):
        if isinstance(event, h2.events.RequestReceived):
            path = dict(event.headers)[":path"]
            stream = self.streams[event.stream_id] = Stream(self, path, event.stream_id)
            stream.up = self.client.get_next_available_stream_id()
            self.by_up[stream.up] = stream
            self.client.send_headers(stream.up, event.headers)
            self.proxy.streams.append(stream)
        elif isinstance(event, h2.events.DataReceived):
            stream = self.streams[event.stream_id]
            for message in taken(stream.request, event.data):
                stream.from_client.append(message)
                for one in self.proxy.rule.request(stream, message):
                    stream.up_queue.append(b"\0" + struct.pack("!I", len(one)) + one)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id].up_queue.append(None)
        elif isinstance(event, h2.events.StreamReset):
            stream = self.streams.pop(event.stream_id)
            stream.open = False
            self.by_up.pop(stream.up, None)
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.client.reset_stream(stream.up, h2.errors.ErrorCodes.CANCEL)

    def from_member(self, event):
        stream = self.by_up.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            self.server.send_headers(stream.down, event.headers, end_stream=False)
        elif isinstance(event, h2.events.DataReceived):
            for message in taken(stream.answer, event.data):
                stream.send(*self.proxy.rule.answer(stream, message))
        elif isinstance(event, h2.events.TrailersReceived):
            stream.down_queue.append(event.headers)
            stream.ended = True
        elif isinstance(event, h2.events.StreamEnded):
            if not stream.ended:
                stream.down_queue.append(None)
        elif isinstance(event, h2.events.StreamReset):
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.server.reset_stream(stream.down, event.error_code)

    def flush(self):
        for stream in list(self.streams.values()):
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                self.drain(self.server, stream.down, stream.down_queue)
                self.drain(self.client, stream.up, stream.up_queue)
        for side, writer in ((self.server, self.writer), (self.client, self.up_writer)):
            data = side.data_to_send()
            if data and writer and not self.stalled:
                with contextlib.suppress(ConnectionError):
                    writer.write(data)

    @staticmethod
    def drain(side, number, queue):
        """As much as the other side lets us: a long list of octets is cut by its window."""
        while queue:
            if queue[0] is None:
                side.end_stream(number)
                queue.pop(0)
                continue
            if isinstance(queue[0], list):
                side.send_headers(number, queue.pop(0), end_stream=True)
                continue
            room = min(side.local_flow_control_window(number), side.max_outbound_frame_size)
            if room <= 0:
                return
            part, rest = queue[0][:room], queue[0][room:]
            side.send_data(number, part)
            if rest:
                queue[0] = rest
            else:
                queue.pop(0)


def taken(buffer, data):
    """The messages that are whole now."""
    buffer += data
    found = []
    while len(buffer) >= 5 and len(buffer) >= 5 + (length := int.from_bytes(buffer[1:5], "big")):
        found.append(bytes(buffer[5 : 5 + length]))
        del buffer[: 5 + length]
    return found


class EtcdProxy:
    """A proxy before a member. `rule` may be replaced at any time."""

    def __init__(self, target, rule=None):
        self.target, self.rule = target, rule or Rule()
        self.streams, self.links, self.count = [], set(), 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self.call(asyncio.start_server(self.accept, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def accept(self, reader, writer):
        self.count += 1
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(self, reader, writer)
        self.links.add(link)
        try:
            if await self.rule.connected(link):
                await link.run()
        except (ConnectionError, h2.exceptions.ProtocolError, asyncio.CancelledError):
            link.close()
        finally:
            self.links.discard(link)

    def call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def do(self, function, *words):
        """Runs something on the proxy's thread, where rules run."""

        async def work():
            return function(*words)

        return self.call(work())

    def watches(self):
        """The watches that are open."""
        return [stream for stream in self.streams if stream.path == WATCH and stream.open and stream.link in self.links]

    def cut(self):
        """Ends all connections."""
        self.do(lambda: [link.writer.transport.abort() for link in list(self.links)])

    def close(self):
        self.cut()
        self.do(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
