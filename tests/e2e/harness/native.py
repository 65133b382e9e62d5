"""Small programs in C, built when a test needs them: what Python is too slow for, or cannot do at all."""

import shutil
import subprocess
from pathlib import Path

import pytest


def compiled(name, folder, *flags):
    """The program or library of `harness/NAME.c`."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler (cc)")
    source, made = Path(__file__).with_name(f"{name}.c"), Path(folder) / name
    command = [compiler, "-O2", "-Wall", *flags, "-o", str(made), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made
