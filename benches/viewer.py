#!/usr/bin/env python3
"""What an open page of the console costs a query: the live log, the live log with a filter, the statistics.

    cargo build --release && python3 benches/viewer.py [--rounds 6] [--seconds 3]

Prints CPU microseconds of the server per query answered, with what the page itself takes, and the difference to no page in
the same round (medians, least and most). O asks private names, H 10,000 cached ones. Each measurement has a server of its
own, started anew, on CPU 0; dnsperf (the load), nsd (an upstream) and the reader of the page are on CPU 1. Everything is on
loopback, and all that is started is stopped.
"""
import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading

import growth
from growth import SERVER, UPSTREAM, Server, authority, free_port, head, load, one_zone, running

KEY = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "bench", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "bench"}
NAMES = {"O": [f"r{n}.one.example" for n in range(9)], "H": [f"n{n}.grow.test" for n in range(10_000)]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    growth.SECONDS = options.seconds
    work = tempfile.mkdtemp(prefix="pvtzd-viewer-")
    try:
        upstream = authority(work)
        print("| load | page | CPU µs per query | against no page, % | rows a second |\n| --- | --- | --- | --- | --- |")
        for workload, names in NAMES.items():
            costs = {page: [] for page in PAGES}
            rows = {page: [] for page in PAGES}
            for number in range(options.rounds):
                # in another order each time, so that what grows or wears off meets all alike
                for page in list(PAGES)[number % len(PAGES):] + list(PAGES)[:number % len(PAGES)]:
                    cost, read = measured(work, upstream, names, page)
                    costs[page].append(cost)
                    rows[page].append(read / options.seconds)
            for page, found in costs.items():
                more = [100 * (one / base - 1) for one, base in zip(found, costs["none"])]
                spread = f"{statistics.median(more):+.1f} ({min(more):+.1f} to {max(more):+.1f})"
                print(f"| {workload} | {page} | {statistics.median(found):.3f} ({min(found):.3f}-{max(found):.3f}) | {spread} | "
                      f"{statistics.median(rows[page]):.0f} |", flush=True)
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)


def measured(work, upstream, names, page):
    """CPU microseconds per query with this page open, and the rows that it got."""
    control = free_port("127.0.0.1")
    with open(os.path.join(work, "conf"), "w") as conf:
        conf.write(head(f'servers = ["{UPSTREAM}:{upstream}"]') + one_zone()
                   + f'[control]\nlisten = "127.0.0.1:{control}"\n[[control.access_key]]\nid = "bench"\nsecret = "bench"\n')
    server = Server(work, names[0])
    queries = growth.jumbled(work, names)
    load(server, queries, len(names))
    load(server, queries, len(names))  # so that each has its finished answer
    reader = PAGES[page](control) if PAGES[page] else None
    before = server.cpu()
    got = load(server, queries)
    cost = (server.cpu() - before) / max(got["answered"], 1) * 1e6
    read = reader.end() if reader else 0
    server.stop()
    return cost, read


class Page(threading.Thread):
    """A page of the console, open until its end. `rows` counts what it got."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.rows, self.ended, self.ready = port, 0, False, threading.Event()
        told = subprocess.run([SERVER, "console", "--json", "--endpoint", f"127.0.0.1:{port}"], check=True,
                              capture_output=True, env={**os.environ, **KEY}).stdout
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.token = None
        self.token = self.ask("session", {"code": json.loads(told)["address"].split("#code=")[1]})["token"]
        self.start()
        self.ready.wait()

    def ask(self, name, body):
        """A call as the page makes it."""
        headers = {"content-type": "application/json", "origin": f"http://127.0.0.1:{self.port}"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        self.connection.request("POST", f"/console/api/{name}", json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{name}: {text}")
        return json.loads(text)

    def end(self):
        """Closes the page; the rows that it got."""
        self.ended = True
        self.join()
        return self.rows


class LiveLog(Page):
    """The live log."""

    filters = {}

    def run(self):
        place = {"after": 0, "began": 0}
        while not self.ended:
            told = self.ask("log", {"reader": "bench", **place, **self.filters})
            place = {"after": told["last"], "began": told["began"]}
            self.rows += len(told["rows"])
            self.ready.set()


class Filtered(LiveLog):
    """The live log of a name that nobody asks."""

    filters = {"name": "rare.example", "client": "127.0.0.0/8"}


class Statistics(Page):
    """The statistics, asked for once a second; the page does it every 15 seconds."""

    def run(self):
        wait = threading.Event()
        while not self.ended:
            for name, body in [("status", {}), ("top", {"count": 10})]:
                self.ask(name, body)
            for action in ["DescribePvtzStatisticsGlobalOverview", "DescribePvtzStatisticsHistory", "DescribePvtzStatisticsSummary"]:
                self.ask("call", {"action": action, "params": {}})
            self.ready.set()
            wait.wait(1)


PAGES = {"none": None, "live log": LiveLog, "live log, filtered": Filtered, "statistics": Statistics}

if __name__ == "__main__":
    main()
