"""TCP: pipelining, slow and half-closed clients, bounds."""

import contextlib
import socket
import threading
import time

from harness.ask import connection, frame, query, receive
from harness.private import ZONE
from harness.wait import until


def slow(gate):
    """An upstream that answers when the gate is open."""

    def script(asked):
        gate.wait(10)
        return asked.response("@ 60 IN A 192.0.2.7")

    return script


def test_a_slow_forwarded_query_does_not_hold_back_a_private_one(start, fake):
    gate = threading.Event()
    server = start(ZONE, upstream=[fake(slow(gate))])
    with connection(server.where) as sock:
        waiting, private = query("slow.test"), query("www.p.example")
        sock.sendall(frame(waiting.to_wire()) + frame(private.to_wire()))
        first = receive(sock)
        assert (first.message.id, first.values) == (private.id, ["10.0.0.1"])
        gate.set()
        second = receive(sock)
        assert (second.message.id, second.values) == (waiting.id, ["192.0.2.7"])


def test_many_pipelined_queries_all_get_their_own_answer(start, authority):
    server = start(ZONE, upstream=[authority])
    asked = {}
    with connection(server.where) as sock:
        for number in range(60):
            name = ("www.p.example", "www.test", f"none{number}.test")[number % 3]
            message = query(name)
            message.id = number
            asked[number] = name
            sock.sendall(frame(message.to_wire()))
        for _ in range(60):
            answer = receive(sock)
            assert answer.message.question[0].name.to_text(True) == asked.pop(answer.message.id)
    assert asked == {}


def test_more_queries_than_the_pipeline_holds_are_answered_too(start, fake):
    server = start(f"[server]\ntcp_pipeline = 4\n{ZONE}", upstream=[fake()])
    with connection(server.where) as sock:
        ids = set()
        for number in range(40):
            message = query(f"n{number}.test")
            message.id = number
            sock.sendall(frame(message.to_wire()))
            ids.add(number)
        for _ in range(40):
            ids.remove(receive(sock).message.id)


def test_messages_without_a_single_octet_are_passed_over(start):
    server = start(ZONE)
    with connection(server.where) as sock:
        sock.sendall(b"\0\0" * 1000 + frame(query("www.p.example").to_wire()))
        assert receive(sock).values == ["10.0.0.1"]


def test_a_client_that_sends_octet_by_octet(start):
    server = start(ZONE)
    with connection(server.where) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in frame(query("www.p.example").to_wire()):
            sock.sendall(bytes([octet]))
            assert server.ask("www.p.example").values == ["10.0.0.1"], "others are not kept waiting"
        assert receive(sock).values == ["10.0.0.1"]


def test_a_half_closed_client_still_gets_its_answers(start, fake):
    gate = threading.Event()
    server = start(ZONE, upstream=[fake(slow(gate))])
    with connection(server.where) as sock:
        sock.sendall(frame(query("slow.test").to_wire()) + frame(query("www.p.example").to_wire()))
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock).values == ["10.0.0.1"]
        gate.set()
        assert receive(sock).values == ["192.0.2.7"]
        assert receive(sock) is None, "then the server closes too"


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(start):
    server = start(f'[server]\ntcp_idle = "1s"\n{ZONE}')
    with connection(server.where) as idle, connection(server.where) as busy:
        closed = threading.Event()
        threading.Thread(target=lambda: (idle.recv(1), closed.set()), daemon=True).start()
        deadline = time.monotonic() + 5
        while not closed.is_set() and time.monotonic() < deadline:
            busy.sendall(frame(query("www.p.example").to_wire()))
            assert receive(busy).values == ["10.0.0.1"]
            closed.wait(0.05)
        assert closed.is_set(), "the idle connection is still open"


def test_a_client_that_stops_in_the_middle_of_a_message_is_cut_off(start):
    server = start(ZONE)
    with connection(server.where, patience=9) as sock:
        sock.sendall(frame(query("www.p.example").to_wire())[:9])
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b"", "closed within the time for a message"


def test_a_client_that_never_reads_is_cut_off_and_costs_the_others_nothing(start):
    big = ", ".join(f'"10.1.{n // 200}.{n % 200}"' for n in range(800))
    text = f'[server]\ntcp_idle = "500ms"\n{ZONE}\n[[zone.record]]\nname = "big"\ntype = "A"\nvalue = [{big}]\n'
    server = start(text)
    with connection(server.where, patience=8) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        packet = frame(query("big.p.example").to_wire())

        def cut_off():
            try:
                for _ in range(200):
                    sock.sendall(packet)
            except OSError:
                return True
            return False

        until(cut_off, "the connection is closed")
        assert server.ask("www.p.example", tcp=True).values == ["10.0.0.1"]


def open_count(connections):
    """How many of the connections answer a query."""
    alive = 0
    for sock in connections:
        with contextlib.suppress(OSError):
            sock.sendall(frame(query("www.p.example").to_wire()))
            if receive(sock) is not None:
                alive += 1
    return alive


def test_this_machine_is_not_one_client_and_who_is_idle_longest_makes_room(start):
    server = start(f"[server]\nmax_tcp_per_client = 5\nmax_tcp_connections = 20\n{ZONE}")
    with contextlib.ExitStack() as stack:
        own = [stack.enter_context(connection(server.where)) for _ in range(20)]
        assert open_count(own) == 20, "one program may have all places"
        for _ in range(30):
            assert server.ask("www.p.example", tcp=True).values == ["10.0.0.1"], "and another one is served"
        idle = stack.enter_context(connection(server.where))
        assert open_count([idle]) == 1


def test_connections_are_bounded_in_all(start):
    server = start(f"[server]\nmax_tcp_connections = 20\n{ZONE}")
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(connection(server.where, source=f"127.0.1.{n + 1}")) for n in range(30)]
        assert open_count(many[-1:]) == 1, "now all have come in"
        assert open_count(many) == 20
    assert server.ask("www.p.example").values == ["10.0.0.1"], "UDP is not affected"


def test_many_connections_come_and_go_without_leaving_anything(start):
    server = start(ZONE)
    assert server.ask("www.p.example", tcp=True).values
    before = server.file_descriptors()
    for number in range(10):
        with contextlib.ExitStack() as stack:
            source = f"127.0.2.{number + 1}"
            many = [stack.enter_context(connection(server.where, source=source)) for _ in range(60)]
            assert open_count(many) == 60
    until(lambda: server.file_descriptors() <= before + 1, "all connections are gone")
