"""The forms of .github/ISSUE_TEMPLATE: their shape, and that a defect's form asks for what the doctor says."""

import subprocess

import yaml
from harness.process import ROOT, binary

FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"


def test_each_form_is_one_that_github_shows():
    paths = [path for path in FORMS.glob("*.yml") if path.name != "config.yml"]
    assert len(paths) >= 2
    for path in paths:
        form = yaml.safe_load(path.read_text())
        assert set(form) == {"name", "description", "labels", "body"}, path
        names = [item["id"] for item in form["body"] if item["type"] != "markdown"]
        assert len(names) == len(set(names)) > 0, path
        for item in form["body"]:
            assert item["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}, (path, item)
            attributes = item["attributes"]
            assert attributes["value" if item["type"] == "markdown" else "label"].strip(), (path, item)
            assert set(item.get("validations", {})) <= {"required"}, (path, item)


def test_the_form_for_defects_asks_for_a_command_that_exists():
    form = yaml.safe_load((FORMS / "defect.yml").read_text())
    doctor = next(item for item in form["body"] if item.get("id") == "doctor")
    assert doctor["validations"]["required"] and "pvtzd doctor --json" in doctor["attributes"]["label"]
    done = subprocess.run([binary(), "doctor", "--help"], text=True, capture_output=True, check=True)
    assert "--json" in done.stdout
