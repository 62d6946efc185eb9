"""A `chargru serve` of one's own: on a free port, stopped at the end, and started again on the same port."""

import contextlib
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN = 60  # Seconds, with room for a machine that is busy.


class Server:
    """The program, as the tests were told to find it, serving both demos."""

    def __init__(self, *arguments: str):
        self.arguments = arguments
        self.port = 0
        self.process = None
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Starts on the port of before, or on a free one the first time."""
        checkpoints = [ROOT / "checkpoints" / name for name in ("demo", "demo-bidirectional")]
        flags = [flag for checkpoint in checkpoints for flag in ("--checkpoint", str(checkpoint))]
        self.log = tempfile.TemporaryFile(mode="w+")
        command = [os.environ["CHARGRU"], "serve", "--port", str(self.port), *flags, *self.arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log
        )
        self.port = self._port()

    def _port(self) -> int:
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end:
            self.log.seek(0)
            log = self.log.read()
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", log):
                return int(found[1])
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {log}")
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server did not say that it listens: {log}")

    def occupy(self):
        """Asks for 240 long texts, so that what else is written takes some twenty seconds, or until the server is killed."""
        body = {"prompt": ["MAREN:"] * 15, "n": 16, "max_tokens": 16_384}
        request = urllib.request.Request(
            f"{self.address}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )

        def ask():
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request).read()

        threading.Thread(target=ask, daemon=True).start()

    def kill(self):
        """Ends the server as a crash would."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.log.close()
            self.process = None
