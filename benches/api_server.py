"""A server with the PrivateZone API and its state in a folder, for benches/scale.py."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
from harness.api import Api, acs3  # noqa: E402

from growth import free_port  # noqa: E402

SERVER = os.environ.get("SERVER", os.path.join(HERE, "..", "target", "release", "pvtzd"))
SECONDS, DOCUMENT, PATIENCE = 1.5, 100_000, 300


class Server:
    """The server under test, with its state in a folder of this name."""

    def __init__(self, work, folder, name=None):
        state = os.path.join(work, folder)
        os.makedirs(state, exist_ok=True)
        conf, self.log = os.path.join(work, "conf.toml"), os.path.join(work, "log")
        port = free_port()
        with open(conf, "w") as file:
            file.write(f'[server]\nlisten = ["127.0.0.1:{port}"]\nstate_dir = "{state}"\n[upstream]\nservers = []\n[endpoints]\nproducts = []\n'
                       '[[vpc]]\nid = "vpc-local"\nclients = ["0.0.0.0/0"]\n'
                       '[control]\nlisten = "127.0.0.1:0"\n[[control.access_key]]\nid = "LTAI-test"\nsecret = "secret-of-the-test"\n')
        os.chmod(conf, 0o600)
        self.conf = conf
        is_ready = (lambda: asked(port, name)) if name else self.address
        self.process, self.start = start([SERVER, "--config", conf, "--metadata", "off"], is_ready, self.log)
        while not self.address():
            time.sleep(0.01)
        self.api = Api(self.address(), patience=600)

    def address(self):
        with open(self.log) as log:
            found = [line for line in log if "the PrivateZone API is ready" in re.sub(r"\x1b\[[0-9;]*m", "", line)]
        found = found and re.search(r"127\.0\.0\.1:(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", found[0]).split("listen=")[1])
        return found and ("127.0.0.1", int(found[1]))

    def zone(self, name):
        return self.api.call("AddZone", ZoneName=name)["ZoneId"]

    def load(self, name, start, end):
        records = [{"Rr": f"host-{n:07d}", "Type": "A", "Value": f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"}
                   for n in range(start, end)]
        return self.send({"Zones": [{"ZoneName": name, "Records": records}]})

    def send(self, document):
        """Imports a document; seconds."""
        body = json.dumps({"Zones": document["Zones"]}, separators=(",", ":")).encode()
        target, headers, body = acs3(self.api, "PvtzdImport", {"Mode": "MERGE"}, body=body, kind="application/json")
        begun = time.monotonic()
        status, reply = self.api.send("POST", target, headers, body)
        if status != 200:
            sys.exit(f"import: {status} {str(reply)[:500]}")
        return time.monotonic() - begun

    def rate(self, zone, clients):
        """Changes a second by so many clients."""
        done, end = [0] * clients, time.monotonic() + SECONDS

        def work(client):
            link = self.api.connect()
            while time.monotonic() < end:
                name = f"n{client}-{time.monotonic_ns()}"
                self.api.call("AddZoneRecord", connection=link, ZoneId=zone, Rr=name, Type="A", Value="192.0.2.1")
                done[client] += 1
        threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / SECONDS

    def beside(self, run):
        """Runs something while another client adds records to another zone: how long that takes, and the longest of these
        changes, in seconds."""
        zone, longest = self.zone("beside.example"), []
        has_begun, is_over = threading.Event(), threading.Event()

        def work():
            link = self.api.connect()
            while not is_over.is_set():
                begun = time.monotonic()
                self.api.call("AddZoneRecord", connection=link, ZoneId=zone, Rr=f"n{time.monotonic_ns()}", Type="A", Value="192.0.2.1")
                longest.append(time.monotonic() - begun)
                has_begun.set()
        other = threading.Thread(target=work)
        other.start()
        has_begun.wait()
        begun = time.monotonic()
        run()
        took = time.monotonic() - begun
        is_over.set()
        other.join()
        self.api.call("DeleteZone", ZoneId=zone)
        return took, max(longest)

    def imported(self, file, zone):
        """Runs the command that imports a file; seconds."""
        host, port = self.address()
        begun = time.monotonic()
        subprocess.run([SERVER, "--config", self.conf, "import", file, "--zone", zone, "--endpoint", f"{host}:{port}"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - begun

    def memory(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"{field}:\s+(\d+)", status.read())[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def start(command, is_ready, log=None):
    """Starts a server and waits until it is ready: the process, and how many seconds it took."""
    with open(log or os.devnull, "w") as messages:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages, start_new_session=True)
    begun = time.monotonic()
    while not is_ready():
        if process.poll() is not None or time.monotonic() - begun > PATIENCE:
            sys.exit(f"not ready: {' '.join(command)}\n{open(log).read()[-2000:] if log else ''}")
        time.sleep(0.003)
    return process, time.monotonic() - begun


def commits(work):
    """Durable commits a second of the rows of one change."""
    command = os.environ.get("COMMITS", "cargo bench -q --bench commit --").split()
    done = subprocess.run([*command, work], capture_output=True, text=True, check=True, cwd=os.path.join(HERE, ".."))
    return float(done.stdout.strip().removesuffix("/s"))


def asked(port, name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.02)
        try:
            asking.connect(("127.0.0.1", port))
            asking.send(b"\0\7\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
            return asking.recv(512)[7] > 0
        except OSError:
            return False
