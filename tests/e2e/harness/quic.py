"""QUIC clients that behave badly, by aioquic."""

import asyncio
import contextlib
import ssl
import struct
import time

from aioquic.asyncio import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated

from . import http3


def configuration(ca, protocol, **words):
    """What a client trusts and speaks."""
    made = QuicConfiguration(is_client=True, alpn_protocols=[protocol], server_name="dns.example", **words)
    made.load_verify_locations(str(ca))
    made.verify_mode = ssl.CERT_REQUIRED
    return made


class Client(QuicConnectionProtocol):
    """A connection that knows whether it was closed."""

    is_closed = False

    def quic_event_received(self, event):
        super().quic_event_received(event)
        self.is_closed = self.is_closed or isinstance(event, ConnectionTerminated)


async def _open(stack, port, made, client=Client):
    return await stack.enter_async_context(connect("127.0.0.1", port, configuration=made, create_protocol=client))


def unread(port, ca, message, *, connections, over_http3):
    """Asks on many streams of connections that let nothing be sent to them, for 12 s; how many were closed."""

    async def run():
        made = configuration(ca, "h3" if over_http3 else "doq", max_data=1 << 10 if over_http3 else 1, max_stream_data=1)
        opened = []
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(connections):
                with contextlib.suppress(ConnectionError):
                    opened.append(await _open(stack, port, made))
            for client in opened:
                ask(client, message, over_http3)
            await asyncio.sleep(12)
            return sum(client.is_closed for client in opened), len(opened)

    return asyncio.run(run())


def ask(client, message, over_http3):
    """Asks the same on 16 streams."""
    with contextlib.suppress(Exception):
        http = http3.H3Connection(client._quic) if over_http3 else None
        for _ in range(16):
            stream = client._quic.get_next_available_stream_id()
            if over_http3:
                headers = [(":method", "POST"), (":scheme", "https"), (":authority", "dns.example")]
                headers += [(":path", "/dns-query"), ("content-type", "application/dns-message")]
                http.send_headers(stream, [(name.encode(), value.encode()) for name, value in headers])
                http.send_data(stream, message, True)
            else:
                client._quic.send_stream_data(stream, struct.pack("!H", len(message)) + message, True)
        client.transmit()


def endless(port, ca, *, connections):
    """Sends frames on each stream that say they are long, and never end, for 8 s."""

    async def run():
        made = configuration(ca, "h3")
        async with contextlib.AsyncExitStack() as stack:
            opened = []
            for _ in range(connections):
                with contextlib.suppress(ConnectionError):
                    opened.append(await _open(stack, port, made))
            for client in opened:
                # HEADERS of 2^30 octets on streams of requests; SETTINGS of as many on the control stream
                for kind, first in ((False, b"\x01"), (False, b"\x21"), (True, b"\x00\x04")):
                    for _ in range(1 if kind else 8):
                        stream = client._quic.get_next_available_stream_id(is_unidirectional=kind)
                        client._quic.send_stream_data(stream, first + struct.pack("!I", 0x80000000 | 1 << 29))
                        client._quic.send_stream_data(stream, bytes(4 << 20))
                client.transmit()
            await asyncio.sleep(8)

    asyncio.run(run())


def closed_while_pinging(port, ca, protocol):
    """True when the server closes a connection that pings and asks nothing, within 15 s."""

    async def run():
        async with contextlib.AsyncExitStack() as stack:
            client = await _open(stack, port, configuration(ca, protocol, idle_timeout=60))
            deadline = time.monotonic() + 15
            while not client.is_closed and time.monotonic() < deadline:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    await asyncio.wait_for(client.ping(), 0.5)
                await asyncio.sleep(0.3)
            return client.is_closed

    return asyncio.run(run())


class Mute:
    """The transport of a client that has gone."""

    def sendto(self, *_):
        """Sends nothing."""

    def close(self):
        """Nothing is left to close."""


def answers(port, ca, message, patience=5.0):
    """True when a question over QUIC gets an answer."""

    async def run():
        async with contextlib.AsyncExitStack() as stack:
            client = await _open(stack, port, configuration(ca, "doq"))
            reader, writer = await client.create_stream()
            writer.write(struct.pack("!H", len(message)) + message)
            writer.write_eof()
            return len(await asyncio.wait_for(reader.read(), patience)) > 2

    try:
        return asyncio.run(asyncio.wait_for(run(), patience))
    except (ConnectionError, TimeoutError, asyncio.TimeoutError):
        return False


def leave_in_each_state(port, ca, messages, protocol):
    """Opens connections and goes without a word: in the handshake, in a question, before an answer and in one."""
    over_http3 = protocol == "HTTP/3"

    async def run():
        for _ in range(3):  # fewer in all than there are places: none of them is idle
            for message in messages:
                for much in (0, 1, 10, None):
                    for resets in (True, False):
                        await leave(message, much, resets)

    async def leave(message, much, resets):
        made = configuration(ca, "h3" if over_http3 else "doq", max_stream_data=2000)
        client = await asyncio.wait_for(_bare(port, made), 5)
        framed = struct.pack("!H", len(message)) + message
        if over_http3:
            ask(client, message, True)
        elif much != 0:
            stream = client._quic.get_next_available_stream_id()
            client._quic.send_stream_data(stream, framed[:much], much is None)
            if resets:
                client._quic.reset_stream(stream, 1)
        client.transmit()
        await asyncio.sleep(0.01)
        socket, client._transport = client._transport, Mute()
        socket.close()  # nothing is said to the server

    asyncio.run(run())


async def _bare(port, made):
    """A connection that nobody closes properly."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_datagram_endpoint(
        lambda: Client(QuicConnection(configuration=made)), local_addr=("127.0.0.1", 0)
    )
    client.connect(("127.0.0.1", port))
    await client.wait_connected()
    return client
