#!/usr/bin/env python3
"""Draws docs/drawings/performance.svg from benches/results.json: `python3 benches/chart.py`."""

import json
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVERS = ["pvtzd", "dnsdist", "unbound", "pdns-recursor", "smartdns", "kresd", "bind"]
STYLE = """<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .bar { fill: #8c959f }
  .ours { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .bar { fill: #656c76 }
    .ours { fill: #4493f8 }
  }
</style>"""
WIDTH, LEFT, LINE, BAR = 860, 130, 20, 640


def main():
    data = json.loads((ROOT / "benches/results.json").read_text())
    parts, y = [], 0
    for workload, figures in data["workloads"].items():
        # unbound was measured in two configurations: the better one
        figures = figures | {"unbound": min(figures["unbound"], figures["unbound-redirect"])}
        y += 30
        parts.append(f'<text class="title" x="0" y="{y}">{escape(workload)}</text>')
        longest = max(figures[server] for server in SERVERS)
        for server in SERVERS:
            y += LINE
            width = max(1, round(BAR * figures[server] / longest))
            kind = "ours" if server == "pvtzd" else "bar"
            parts.append(f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{escape(server)}</text>')
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{y - 12}" width="{width}" height="14"/>')
            parts.append(f'<text x="{LEFT + width + 6}" y="{y}">{figures[server]:.2f}</text>')
    title = f"{data['unit']}, {data['run']}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 12}" role="img">'
    lines = [head, f"<title>{escape(title)}</title>", STYLE, *parts, "</svg>"]
    (ROOT / "docs/drawings/performance.svg").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
