"""`pvtzd schema`: a JSON Schema by a validator that is not ours, and every sample held against it."""

import json
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
from harness.process import binary

ROOT = Path(__file__).parents[2]
SAMPLES = [*sorted((ROOT / "config").glob("*.toml")), *sorted((ROOT / "packaging").rglob("pvtzd*.toml"))]
# The catalogues that are built in are no configurations.
SAMPLES = [file for file in SAMPLES if file.name not in ("endpoints.toml", "availability-zones.toml")]


@pytest.fixture(scope="module")
def schema():
    printed = subprocess.run([binary(), "schema"], capture_output=True, text=True, timeout=20, check=True).stdout
    schema = json.loads(printed)
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def problems(schema, text):
    return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.name)
def test_every_sample_is_valid(schema, file):
    assert problems(schema, file.read_text()) == []


def test_every_example_of_the_documented_file_is_valid(schema):
    lines = (ROOT / "config/pvtzd.toml").read_text().splitlines()
    text = "\n".join(line[1:] if line.startswith("#") and line[1:2] not in ("", " ") else line for line in lines)
    assert "[[hosts]]" in text and problems(schema, text) == []


def test_every_key_has_a_description_and_documented_defaults_are_valid(schema):
    def look(place, part):
        for key, value in part.get("properties", {}).items():
            assert "description" in value or "properties" in value.get("items", value), f"{place}.{key}"
            if "default" in value:
                kind = jsonschema.Draft7Validator({**value, "$defs": schema.schema["$defs"]})
                kind.validate(value["default"])
            look(f"{place}.{key}", value.get("items", value))

    look("", schema.schema)


@pytest.mark.parametrize(
    "text",
    [
        '[sevrer]\nlisten = ["127.0.0.1:53"]\n',
        '[server]\nlisen = ["127.0.0.1:53"]\n',
        '[server]\nlisten = "127.0.0.1:53"\n',
        '[server]\ntcp_idle = 10\n',
        '[server]\ntcp_idle = "10 s"\n',
        "[server]\nudp_payload = 100\n",
        '[upstream]\nservers = "sytem"\n',
        '[[zone]]\nfile = "x"\n',
        '[[zone]]\nname = "a"\n[[zone.record]]\nname = "@"\nrr = "@"\ntype = "A"\nvalue = "192.0.2.1"\n',
        '[[zone]]\nname = "a"\nproxy_pattern = "ZONES"\n',
        "[[hosts]]\nttl = 5\n",
        '[log]\nclient = "half"\n',
        '[control]\nlisten = "127.0.0.1:5380"\n',
        '[control]\n[[control.access_key]]\nid = "a"\nsecret = "b"\nsecret_file = "c"\n',
    ],
)
def test_what_the_program_refuses_the_schema_refuses_too(schema, text, tmp_path):
    (tmp_path / "test.toml").write_text(text)
    done = subprocess.run([binary(), "check", "--config", tmp_path / "test.toml"], capture_output=True, timeout=20, check=False)
    assert done.returncode == 78
    assert problems(schema, text) != []


def test_the_schema_is_made_from_the_documents():
    made = subprocess.run([ROOT / "packaging/schema"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert made == (ROOT / "config/pvtzd.schema.json").read_text(), "packaging/schema >config/pvtzd.schema.json"
