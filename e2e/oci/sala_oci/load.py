"""`sala load-test` against a deployment, as a process of its own."""

import json
import os
import subprocess

from .stack import SALA, Stack


class Load:
    """Rooms full of callers until `end`. It speaks plain HTTP, so it comes by a master's port 7880."""

    def __init__(self, stack: Stack, prefix: str, *, rooms: int, publishers: int, subscribers: int = 0) -> None:
        env = stack.env("openvidu.env")
        environment = os.environ | {
            "LIVEKIT_URL": f"http://{stack.master_ips[0]}:7880",
            "LIVEKIT_API_KEY": env["LIVEKIT_API_KEY"], "LIVEKIT_API_SECRET": env["LIVEKIT_API_SECRET"],
        }
        command = [
            "setpriv", "--pdeathsig", "KILL", SALA, "load-test", "--rooms", str(rooms), "--publishers", str(publishers), "--subscribers", str(subscribers),
            "--duration", "20m", "--ramp", "3s", "--prefix", prefix, "--json",
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)

    def end(self) -> dict:
        """The report. Callers leave."""
        self.process.send_signal(2)
        try:
            out, error = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert out.strip().startswith("{"), error
        return json.loads(out)

    def abort(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
