"""What is not DNS never stops DNS: a log that cannot be written, a port that is taken, a reader that stands still."""

import os
import socket

import pytest
from harness.private import ZONE
from harness.wait import until
from test_bounds_api import PROMISE, resident


@pytest.fixture
def taken():
    """A port that another program has."""
    holder = socket.create_server(("127.0.0.1", 0))
    yield holder
    holder.close()


@pytest.mark.parametrize("section, hint", [("ops", r"\[ops\]"), ("control", r"\[control\]")])
def test_a_taken_port_is_tried_again_and_dns_is_served(start, taken, section, hint):
    port = taken.getsockname()[1]
    key = '[[control.access_key]]\nid = "a"\nsecret = "b"\n' if section == "control" else ""
    server = start(f'{ZONE}[{section}]\nlisten = "127.0.0.1:{port}"\n{key}')
    server.logged(rf"cannot listen on 127.0.0.1:{port}.*{hint}")
    assert server.ask("www.p.example").values == ["10.0.0.1"]
    taken.close()
    server.logged("works again")
    socket.create_connection(("127.0.0.1", port), 5).close()


def test_a_log_folder_that_is_not_there_is_tried_again(start, tmp_path):
    file = tmp_path / "logs" / "queries.log"
    server = start(f'{ZONE}[log]\nqueries = "text"\nfile = "{file}"\n')
    server.logged("the query log cannot be opened")
    assert server.ask("www.p.example").values == ["10.0.0.1"]
    file.parent.mkdir()
    server.logged("works again")

    def written():
        server.ask("www.p.example")
        return file.exists() and "query_name=www.p.example" in file.read_text()

    until(written, "a line is written")


def test_a_control_socket_that_cannot_be_had_stops_nothing(start, tmp_path):
    (tmp_path / "file").write_text("")
    server = start(f'{ZONE}[ops]\nsocket = "{tmp_path}/file/pvtzd.sock"\n')
    server.logged("the control socket is not available")
    assert server.ask("www.p.example").values == ["10.0.0.1"]
    (tmp_path / "file").unlink()
    server.logged("works again")
    assert (tmp_path / "file" / "pvtzd.sock").exists()


LONG = ZONE + "".join(
    f'[[zone.record]]\nname = "long"\ntype = "TXT"\nvalue = "{number:03}{"x" * 240}"\n' for number in range(200)
)


def flood(server, count):
    """Asks for a long answer again and again over one connection and reads every one."""
    host, port = server.where
    question = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04long\x01p\x07example\x00\x00\x10\x00\x01"
    with socket.create_connection((host, port), 20) as client, client.makefile("rb") as answers:
        for _ in range(count):
            client.sendall(len(question).to_bytes(2, "big") + question)
            answers.read(int.from_bytes(answers.read(2), "big"))


def test_a_query_log_whose_reader_stands_still_is_bounded(start, tmp_path):
    fifo = tmp_path / "queries.fifo"
    os.mkfifo(fifo)
    server = start(f'{LONG}[log]\nqueries = "json"\nfile = "{fifo}"\n[ops]\nlisten = "127.0.0.1:0"\n')
    assert server.ask("www.p.example").values, "a FIFO without a reader holds up no start"
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    flood(server, 1500)
    assert resident(server) < PROMISE
    assert server.ask("www.p.example").values
    os.close(reader)


def test_a_dnstap_receiver_that_stands_still_is_bounded(start, tmp_path):
    path = tmp_path / "dnstap.sock"
    receiver = socket.socket(socket.AF_UNIX)
    receiver.bind(str(path))
    receiver.listen()
    server = start(f'{LONG}[log]\ndnstap = "{path}"\n')
    stream, _ = receiver.accept()
    stream.recv(4096)
    content = b"protobuf:dnstap.Dnstap"
    accept = b"\0\0\0\1" + b"\0\0\0\1" + len(content).to_bytes(4, "big") + content
    stream.sendall(b"\0\0\0\0" + len(accept).to_bytes(4, "big") + accept)
    server.logged("connected to the receiver")
    flood(server, 1500)
    assert resident(server) < PROMISE
    assert server.ask("www.p.example").values
    stream.close()
    receiver.close()
