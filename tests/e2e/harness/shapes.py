"""What the API's answers look like: the fields of each action and their types, and whether an answer has them."""

import re
from pathlib import Path

SOURCE = Path(__file__).with_name("pvtz-actions.txt")
KINDS = {"s": str, "i": int, "b": bool}
TOKEN = re.compile(r"[A-Za-z0-9]+\*?|[{}\[\]:,]")


class Action:
    """An action: `request` and `response` are what `_parse` makes of the table."""

    def __init__(self, name, request, response):
        self.name = name
        self.request, _ = _parse(TOKEN.findall(request))
        self.response, _ = _parse(TOKEN.findall(response))

    @property
    def mandatory(self):
        return [name.rstrip("*") for name in self.request if name.endswith("*")]


def actions():
    """All of them by name."""
    lines = [line for line in SOURCE.read_text().splitlines() if line and not line.startswith("#")]
    return {name: Action(name, *shapes) for name, *shapes in (line.split(" | ") for line in lines)}


def _parse(tokens):
    """A shape: a type, `[shape]`, or a dictionary of shapes; and the tokens behind it."""
    head, rest = tokens[0], tokens[1:]
    if head == "[":
        shape, rest = _parse(rest)
        assert rest[0] == "]", rest
        return [shape], rest[1:]
    if head != "{":
        return KINDS[head], rest
    shape = {}
    while rest[0] != "}":
        if rest[0] == ",":
            rest = rest[1:]
        name, colon, *rest = rest
        assert colon == ":", (name, rest)
        shape[name], rest = _parse(rest)
    return shape, rest[1:]


def faults(shape, value, where=""):
    """What of an answer differs from its shape, a line for each; fields that are absent are told as well."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        found = [f"{where}.{name}: not in the table" for name in value if name not in shape]
        for name, inner in shape.items():
            found += faults(inner, value[name], f"{where}.{name}") if name in value else [f"{where}.{name}: absent"]
        return found
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [line for at, item in enumerate(value) for line in faults(shape[0], item, f"{where}[{at}]")]
    return [] if type(value) is shape else [f"{where}: {value!r} is no {shape.__name__}"]
