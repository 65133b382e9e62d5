#!/usr/bin/env python3
"""One zone of many A records from a zone file: time to the first answer and memory, beside unbound and nsd.

    cargo build --release && python3 benches/zonefile.py [RECORDS]

The same zone file for all three; unbound has it as an auth-zone. Memory is the proportional set size of all processes of
a server. Each server is started in turn, five rounds; the table has the median (lowest-highest). A server that is not
installed is left out. All is on loopback, and all that is started is stopped.
"""
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

SERVER = os.environ.get("SERVER", os.path.join(os.path.dirname(__file__), "..", "target", "release", "pvtzd"))
ROUNDS, PATIENCE = 5, 120


def main():
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    work = tempfile.mkdtemp(prefix="pvtzd-zonefile-")
    os.chmod(work, 0o755)
    try:
        with open(os.path.join(work, "corp.zone"), "w") as zone:
            zone.write("$TTL 300\n@ SOA ns1 admin 1 3600 900 604800 60\n@ NS ns1\nns1 A 192.0.2.1\n")
            zone.writelines(f"host-{n:07d} A 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}\n" for n in range(records))
        port = free_port()
        commands = {name: make(work, port) for name, make in SERVERS.items()}
        found = {name: [] for name, command in commands.items() if command}
        for _ in range(ROUNDS):
            for name, figures in found.items():
                figures.append(measure(commands[name], port, f"host-{records // 2:07d}.corp.example"))
        print(f"| {records:,} A records | first answer, s | memory, MiB |\n| --- | --- | --- |")
        for name, figures in found.items():
            print(f"| {name} | {shown([time for time, _ in figures], 2)} | {shown([size for _, size in figures], 0)} |")
    finally:
        shutil.rmtree(work)


def pvtzd(work, port):
    write(work, "pvtzd.toml", '[upstream]\nservers = []\n[endpoints]\nproducts = []\n[[zone]]\nname = "corp.example"\nfile = "corp.zone"\n')
    return [SERVER, "--config", f"{work}/pvtzd.toml", "--metadata", "off", "--listen", f"127.0.0.1:{port}"]


def unbound(work, port):
    write(work, "unbound.conf", f"""server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  username: ""
  chroot: ""
  directory: "{work}"
  pidfile: ""
  use-syslog: no
  num-threads: 1
  module-config: "iterator"
remote-control:
  control-enable: no
auth-zone:
  name: corp.example
  zonefile: corp.zone
""")
    return installed("unbound", "-d", "-c", f"{work}/unbound.conf")


def nsd(work, port):
    write(work, "nsd.conf", f"""server:
  ip-address: 127.0.0.1@{port}
  username: ""
  database: ""
  zonesdir: "{work}"
  pidfile: "{work}/nsd.pid"
  xfrdfile: "{work}/xfrd"
  zonelistfile: "{work}/zonelist"
remote-control:
  control-enable: no
zone:
  name: corp.example
  zonefile: corp.zone
""")
    return installed("nsd", "-d", "-c", f"{work}/nsd.conf")


SERVERS = {"pvtzd": pvtzd, "nsd": nsd, "unbound": unbound}


def measure(command, port, name):
    """Seconds from the start to the first answer, and MiB half a second later."""
    begun = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while not answers(port, name):
            if server.poll() is not None or time.monotonic() - begun > PATIENCE:
                sys.exit(f"no answer: {' '.join(command)}")
        took = time.monotonic() - begun
        time.sleep(0.5)
        return took, memory(server.pid)
    finally:
        os.killpg(server.pid, 9)
        server.wait()
        time.sleep(0.2)


def answers(port, name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.02)
        try:
            asking.connect(("127.0.0.1", port))
            asking.send(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1")
            reply = asking.recv(512)
        except OSError:
            time.sleep(0.005)
            return False
        return struct.unpack("!H", reply[6:8])[0] > 0


def memory(session):
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(pid)) == session:
                with open(f"/proc/{pid}/smaps_rollup") as lines:
                    total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            pass
    return total / 1024


def installed(program, *words):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    return [path, *words] if path else None


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def shown(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def write(work, name, text):
    with open(os.path.join(work, name), "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
