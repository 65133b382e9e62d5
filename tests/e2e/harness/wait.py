"""Waiting for what can be observed, within a deadline. Nothing here sleeps for a fixed time."""

import time

PATIENCE = 10.0


def until(condition, what, patience=PATIENCE):
    """Waits until `condition()` is truthy and returns what it returned."""
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.01)
