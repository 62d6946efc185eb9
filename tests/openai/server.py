"""A `chargru serve` of the demo on a free port, and OpenAI's client of it."""

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import openai

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN = 60  # Seconds, with room for a machine that is busy.


class Server:
    """The program, as the tests were told to find it."""

    def __init__(self, *flags: str):
        self.log = tempfile.TemporaryFile(mode="w+")
        checkpoint = str(ROOT / "checkpoints" / "demo")
        command = [os.environ["CHARGRU"], "serve", "--port", "0", "--checkpoint", checkpoint, *flags]
        environment = {name: value for name, value in os.environ.items() if name != "CHARGRU_API_KEY"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log
        )
        try:
            self.address = self._address()
        except BaseException:
            self.process.kill()
            raise

    def _address(self) -> str:
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end:
            if found := re.search(r"listening on (http://127\.0\.0\.1:\d+)", self.lines()):
                return found[1]
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {self.lines()}")
            time.sleep(0.02)
        raise RuntimeError(f"the server did not say that it listens: {self.lines()}")

    def lines(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def settings(self, **more) -> dict:
        """What a client of this server is made with. It does not try again, so that nothing is hidden."""
        return {"base_url": f"{self.address}/v1", "api_key": "none", "max_retries": 0, "timeout": 120, **more}

    def client(self, **more) -> openai.OpenAI:
        return openai.OpenAI(**self.settings(**more))

    def stop(self) -> int:
        """Ends it in order, and gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def close(self):
        """Ends it at once, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
