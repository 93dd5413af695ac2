"""Pebble: the ACME authority that Let's Encrypt tests clients with."""

import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path
import ssl

from .simulator import ROOT, free_port, wait_until

BINARIES = ROOT / ".tools/pebble"


class Pebble:
    """Issues for addresses; checks by HTTP on port 80 of the address, as Let's Encrypt does."""

    def __init__(self, log: Path) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="pebble-", dir="/tmp"))
        self.port, self.management_port = free_port(), free_port()
        self.ca_file = self.place / "ca.pem"
        key, cert = self.place / "key.pem", self.place / "cert.pem"
        _issue(self.place, self.ca_file, key, cert)
        config = {
            "pebble": {
                "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management_port}",
                "certificate": str(cert), "privateKey": str(key), "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "",
                "externalAccountBindingRequired": False, "retryAfter": {"authz": 1, "order": 1},
                "profiles": {
                    "default": {"description": "as ever", "validityPeriod": 7776000},
                    "shortlived": {"description": "for addresses", "validityPeriod": 518400},
                },
            }
        }
        (self.place / "pebble.json").write_text(json.dumps(config))
        environment = {"PEBBLE_VA_NOSLEEP": "1", "PATH": "/usr/bin:/bin"}
        with log.open("wb") as output:
            # It ends with us, however we end.
            command = ["setpriv", "--pdeathsig", "KILL", BINARIES / "pebble", "-config", self.place / "pebble.json"]
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        wait_until(self._root, of="Pebble's start")
        self.root_file = self.place / "root.pem"
        self.root_file.write_text(self._root())

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    def _root(self) -> str:
        assert self.process.poll() is None, "Pebble has ended"
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            url = f"https://127.0.0.1:{self.management_port}/roots/0"
            with urllib.request.urlopen(url, timeout=5, context=context) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _issue(place: Path, ca_file: Path, key: Path, cert: Path) -> None:
    """An authority for Pebble's own server, and its certificate."""

    def openssl(*arguments) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=place)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", ca_file, "-days", 2, "-subj", "/CN=rehearsal ACME CA")
    openssl("req", *new, "-keyout", key, "-out", "server.csr", "-subj", "/CN=rehearsal ACME")
    (place / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", ca_file, "-CAkey", "ca.key", "-CAcreateserial", "-days", 2,
        "-extfile", "extensions", "-out", cert,
    )
