"""docs/clients.md and docs/zh/clients.md: written by a run of these tests, and checked for being of their last change."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"en": ROOT / "docs/clients.md", "zh": ROOT / "docs/zh/clients.md"}

EN = """# Clients

English | [中文](zh/clients.md)

Clients of Alibaba Cloud that run against the lab unchanged: `tests/run --only clients`. This page is written by that
run and not by hand (`WRITE_CLIENTS=1 tests/run --only clients`). `not run`: the program was not on PATH.
`tests/clients/provider/build` builds the provider and its acceptance tests from the provider's source.

| client | version | what was done | result |
| --- | --- | --- | --- |
{rows}
Date of the run: {date}.

<!-- made from {digest} -->
"""

ZH = """# 客户端

[English](../clients.md) | 中文

以下阿里云客户端不加修改即可对实验环境运行：`tests/run --only clients`。本页由该测试生成，不要手工修改
（`WRITE_CLIENTS=1 tests/run --only clients`）。“未运行”表示生成本页时 PATH 中没有该程序。
`tests/clients/provider/build` 从源代码构建 Terraform provider 及其验收测试。

| 客户端 | 版本 | 内容 | 结果 |
| --- | --- | --- | --- |
{rows}
运行日期：{date}。

<!-- made from {digest} -->
"""


def digest():
    """Of all that the page is made from: the tests, their programs and fixtures."""
    folder, whole = ROOT / "tests/clients", hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        # tests/e2e has what is in `role`
        if path.is_file() and not {"role", "target", "__pycache__"} & set(path.parts):
            whole.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]


# Programs that no package registry has: name, what would be done, the same in Chinese.
NOT_ON_PATH = (
    ("aliyun CLI", "ecs DescribeRegions, vpc CreateVpc", "ecs DescribeRegions、vpc CreateVpc"),
    ("ecctl", "ecs region list", "ecs region list"),
    ("Terraform, provider alicloud", "apply, plan, destroy", "apply、plan、destroy"),
    ("Terraform, provider alicloud: acceptance tests", "its tests for PrivateZone", "其 PrivateZone 测试"),
)


def write(results, date):
    ran = {row["client"] for row in results}
    for client, done, done_zh in NOT_ON_PATH:
        if client not in ran:
            results.append({"client": client, "version": "-", "done": done, "done_zh": done_zh, "result": "not run"})
    rows = sorted(results, key=lambda row: (row["client"], row["done"]))
    words = {"works": "可用", "fails": "失败", "not run": "未运行"}
    english = "".join(f"| {r['client']} | {r['version']} | {r['done']} | {r['result']} |\n" for r in rows)
    chinese = "".join(f"| {r['client']} | {r['version']} | {r['done_zh']} | {words[r['result']]} |\n" for r in rows)
    for page, text, rows in ((PAGES["en"], EN, english), (PAGES["zh"], ZH, chinese)):
        page.write_text(text.format(rows=rows, date=date, digest=digest()))
