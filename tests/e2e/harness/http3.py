"""Requests over HTTP/3, by aioquic: what the clients of DNS do not let a test say."""

import asyncio
import ssl

from aioquic.asyncio import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Client(QuicConnectionProtocol):
    """A connection; each request has its stream."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.waiting, self.headers, self.body = {}, {}, {}

    def quic_event_received(self, event):
        for said in self.http.handle_event(event):
            if isinstance(said, HeadersReceived):
                self.headers[said.stream_id] = {name.decode(): value.decode() for name, value in said.headers}
            elif isinstance(said, DataReceived):
                self.body[said.stream_id] = self.body.get(said.stream_id, b"") + said.data
            if getattr(said, "stream_ended", False) and said.stream_id in self.waiting:
                self.waiting.pop(said.stream_id).set_result(None)

    async def request(self, method, path, kind=None, body=b""):
        """The response's headers and body."""
        stream = self._quic.get_next_available_stream_id()
        headers = [(":method", method), (":scheme", "https"), (":authority", "dns.example"), (":path", path)]
        headers += [("content-type", kind)] if kind else []
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in headers], not body)
        if body:
            self.http.send_data(stream, body, True)
        ended = self.waiting[stream] = asyncio.get_running_loop().create_future()
        self.transmit()
        await asyncio.wait_for(ended, 10)
        return self.headers[stream], self.body.get(stream, b"")


def requests(port, ca, rows):
    """The responses to `(method, path, kind, body)`, all at the same time on one connection."""

    async def run():
        configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name="dns.example")
        configuration.load_verify_locations(str(ca))
        configuration.verify_mode = ssl.CERT_REQUIRED
        async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
            return await asyncio.gather(*(client.request(*row) for row in rows))

    return asyncio.run(run())
