"""Many clients at once: `harness/pour.c`, and what it reports."""

import json
import subprocess


class Crowd:
    """Runs `pour` while the context lasts; `result` is there after it. Each kind is `SHARE:NAME:RANGE:EXPECTED`."""

    def __init__(self, program, where, *kinds, rate, seconds, count=0, window=10_000, hostile=0, seed=1):
        words = [program, *where, rate, seconds, count, window, hostile, seed, *kinds]
        self.limit = seconds + 30
        self.process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
        self.result = None

    @property
    def is_running(self):
        return self.process.poll() is None

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        try:
            if failed:
                self.process.terminate()
            said = self.process.communicate(timeout=self.limit)[0]
        except BaseException:
            self.process.kill()
            raise
        if not failed:
            assert self.process.returncode == 0, f"pour ended with {self.process.returncode}"
            self.result = json.loads(said)
