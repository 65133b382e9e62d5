"""HTTP/2 frame by frame: what the clients of DNS do not let a test say."""

import base64
import contextlib
import socket
import ssl
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS = 1, 4
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4


def frame(kind, flags=0, stream=0, payload=b""):
    """A frame."""
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def settings(**values):
    """A SETTINGS frame: `settings(initial_window_size=0)`."""
    numbers = {"header_table_size": HEADER_TABLE_SIZE, "initial_window_size": INITIAL_WINDOW_SIZE}
    pairs = (struct.pack("!HI", numbers[name], value) for name, value in values.items())
    return frame(SETTINGS, payload=b"".join(pairs))


def literal(name, value, indexed=False):
    """A header that is spelled out; with `indexed` both sides keep it in their tables."""
    assert len(name) < 127 and len(value) < 127
    return (b"\x40" if indexed else b"\x00") + bytes([len(name)]) + name + bytes([len(value)]) + value


def get(stream, message):
    """A request for the answer to a message."""
    path = b"/dns-query?dns=" + base64.urlsafe_b64encode(message).rstrip(b"=")
    block = b"\x82\x87" + literal(b":path", path) + literal(b":authority", b"dns.example")
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block)


def post(stream, more=b"", end=0):
    """The headers of a request whose body would follow."""
    block = b"\x83\x87" + literal(b":path", b"/dns-query") + literal(b":authority", b"dns.example")
    block += literal(b"content-type", b"application/dns-message")
    return frame(HEADERS, end | END_HEADERS, stream, block + more)


@contextlib.contextmanager
def connection(port, ca, first=b"", *, patience=6.0):
    """A connection that has sent its preface and settings, or what stands for them."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port), patience) as plain:
        with context.wrap_socket(plain, server_hostname="dns.example", suppress_ragged_eofs=True) as sock:
            sock.sendall(PREFACE + (first or settings()))
            yield sock


def read_frames(sock):
    """The frames that come, until the end."""
    data = b""
    while True:
        while len(data) < 9 or len(data) < 9 + int.from_bytes(data[:3], "big"):
            more = sock.recv(65536)
            if not more:
                return
            data += more
        length = int.from_bytes(data[:3], "big")
        yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]
        data = data[9 + length :]
