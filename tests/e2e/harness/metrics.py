"""What pvtzd counts, read as Prometheus reads it."""

import re
import urllib.request

OPS = """
[ops]
listen = "127.0.0.1:0"
socket = "off"
"""


def where(server):
    """The address of its metrics."""
    return server.logged(r"metrics and health are served listen=(\S+)").group(1)


def page(server):
    with urllib.request.urlopen(f"http://{where(server)}/metrics", timeout=10) as response:
        return response.read().decode()


def total(server, name, **labels):
    """The sum of a metric over all series that have these labels."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", page(server), re.M)
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(value) for told, value in found if all(label in told for label in wanted))
