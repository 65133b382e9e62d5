"""`pvtzd lab exec`: a command on an instance of the lab."""

import os
import subprocess

import pytest

from .process import binary


def environment(state):
    """The variables of a caller who has no keys, and proxies that lead nowhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PVTZD", "ALIBABA", "ALICLOUD"))}
    return {**kept, "XDG_STATE_HOME": str(state), "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def namespaces_work():
    probe = ["unshare", "--user", "--map-root-user", "--net", "--mount", "true"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


instances = pytest.mark.skipif(not namespaces_work(), reason="no user namespaces on this machine")

# Somebody without any rights, though the files of root are readable.
SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


def execute(state, *command, options=(), prefix=(), timeout=90, **more):
    """Runs a command by `lab exec`."""
    words = [*prefix, binary(), "lab", "exec", *options, "--", *command]
    words = [str(word) for word in words]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=timeout, env=environment(state), check=False, **more
    )
