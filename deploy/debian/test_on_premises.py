"""A reader's dry run of docs/deploy/on-premises.md, "Four masters and media nodes": its own commands, settings and
configurations, on loopback addresses, with the real etcd, HAProxy and an ACME server in the place of Let's Encrypt.
Only what the text itself says is changed: addresses, directories, the ACME server; what systemd would run is started here.
"""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/deploy/on-premises.md"
PEBBLE = ROOT / ".tools/pebble"
MASTERS = {f"m{number}": f"10.0.0.1{number}" for number in range(1, 5)}
NAME = "meet.example.org"
PATIENCE = 120

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="ports 80 and 443 need root")


def step(number):
    """The code blocks of a step, in order."""
    section = re.split(r"^### ", GUIDE.read_text(), flags=re.M)[number]
    return re.findall(r"^```\w*\n(.*?)^```", section, flags=re.M | re.S)


class Site:
    """The guide's machines as directories, its network as a part of loopback."""

    def __init__(self, directory):
        self.directory = directory
        self.net = f"127.{os.getpid() % 200 + 30}.{os.getpid() // 200 % 250}."
        self.balancer = self.net + "100"
        self.children = []
        self.binaries = directory / "bin"
        self.binaries.mkdir()
        (self.binaries / "sala").symlink_to(os.environ["SALA_BIN"])

    def here(self, text, machine):
        """The text as it applies to a machine."""
        text = text.replace("10.0.0.", self.net).replace("203.0.113.21", self.net + "21")
        for path in ("/etc/sala", "/var/lib/sala"):
            text = text.replace(path, str(self.directory / machine) + path)
        return text.replace("sudo ", "").replace("-o sala ", "").replace("chown sala", "chown root")

    def shell(self, text, machine, **more):
        directory = self.directory / machine / "etc/sala"
        directory.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"PATH": f"{self.binaries}:{os.environ['PATH']}"} | more
        # There is no terminal here to show root's password on.
        script = self.here(text, machine).replace("/dev/tty", "/dev/null")
        done = subprocess.run(["bash", "-euc", script], cwd=directory, env=environment, text=True, capture_output=True)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name, *command, **more):
        log = (self.directory / f"{name}.log").open("w")
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)], stdout=log, stderr=log, env=os.environ | more
        )
        self.children.append(child)
        return child

    def logs(self):
        parts = []
        for log in sorted(self.directory.glob("*.log")):
            parts.append(f"== {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]))
        return "\n".join(parts)


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    for child in site.children:
        child.kill()
    for child in site.children:
        child.wait()


def until(site, what, attempt):
    """Tries until it works; the clock only ends a test that hangs."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            result = attempt()
            if result:
                return result
        except (OSError, subprocess.CalledProcessError, AssertionError):
            pass
        assert time.monotonic() < end, f"{what}\n{site.logs()}"
        time.sleep(0.2)


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


def start_acme(site):
    """Pebble, which finds the name at the balancer."""
    site.shell("sala cluster ca --dir . --id acme", "acme")
    site.shell(
        """
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout s.key -out s.csr -subj /CN=acme
        printf 'subjectAltName = IP:%s' "$address" |
            openssl x509 -req -in s.csr -CA ca.pem -CAkey ca.key -days 9 -out s.pem -extfile /dev/stdin
        """,
        "acme",
        address=site.net + "200",
    )
    files = site.directory / "acme/etc/sala"
    host = site.net + "200"
    config = {
        "listenAddress": f"{host}:14000", "managementListenAddress": f"{host}:15000",
        "certificate": str(files / "s.pem"), "privateKey": str(files / "s.key"), "httpPort": 80, "tlsPort": 443,
        "retryAfter": {"authz": 1, "order": 1},
    }
    (files / "pebble.json").write_text(json.dumps({"pebble": config}))
    dns = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv6", "", "-defaultIPv4", site.balancer]
    site.start("dns", PEBBLE / "pebble-challtestsrv", *dns, "-dnsserver", f"{host}:53", "-management", f"{host}:8055")
    site.start("acme", PEBBLE / "pebble", "-config", files / "pebble.json", "-dnsserver", f"{host}:53", PEBBLE_VA_NOSLEEP="1")
    return f"https://{host}:14000/dir", files / "ca.pem"


def test_the_guide_leads_to_a_cluster_that_serves(site):
    # 1. What all machines share.
    make, install = step(1)
    site.shell(make, "office")
    machines = [*MASTERS, "a"]
    for machine in machines:
        site.shell(f'cd "$office"\n{install}', machine, office=str(site.directory / "office/etc/sala/cluster"))

    # 2. etcd on each master.
    certificate, settings, users = step(2)
    assert "me=m1 address=10.0.0.11" in certificate
    for name, address in MASTERS.items():
        own = certificate.replace("me=m1 address=10.0.0.11", f"me={name} address={address}")
        site.shell(own, name)
        head, rest = settings.split("ETCD_INITIAL_CLUSTER=", 1)
        env = site.here(head.replace("m1", name).replace("10.0.0.11", address) + "ETCD_INITIAL_CLUSTER=" + rest, name)
        (site.directory / name / "var/lib/sala").mkdir(parents=True)
        site.start(f"etcd-{name}", "etcd", **dict(line.split("=", 1) for line in env.split()))
    members = until(site, "etcd answers", lambda: site.shell(users.split("etcdctl user add root")[0], "m1"))
    assert members.count("started") == 4, members
    site.shell(users, "m1")

    # 3. sala.yaml.
    directory_url, ca_file = start_acme(site)
    master, media = step(3)
    assert f"names: [{NAME}]" in master
    for name, address in MASTERS.items():
        own = master.replace("node_id: m1", f"node_id: {name}")
        for key in ("internal_address", "https", "http", "plain"):
            own = re.sub(rf"(\n +{key}: \[?\")10\.0\.0\.11", rf"\g<1>{address}", own)
        own = site.here(own, name) + f"      directory_url: {directory_url}\n      ca_file: {ca_file}\n"
        (site.directory / name / "etc/sala/sala.yaml").write_text(own)
        site.start(name, os.environ["SALA_BIN"], "serve", "--config", site.directory / name / "etc/sala/sala.yaml")
    (site.directory / "a/etc/sala/sala.yaml").write_text(site.here(media, "a"))
    site.start("a", os.environ["SALA_BIN"], "serve", "--config", site.directory / "a/etc/sala/sala.yaml")
    for address in MASTERS.values():
        url = f"http://{address.replace('10.0.0.', site.net)}:7880/healthz"
        until(site, f"{url} is healthy", lambda url=url: get(url) == b"OK")

    # 4. The balancer.
    (balancer,) = step(4)
    balancer = site.here(balancer, "balancer").replace("bind :", f"bind {site.balancer}:")
    (site.directory / "haproxy.cfg").write_text(balancer)
    haproxy = site.start("haproxy", "haproxy", "-db", "-f", site.directory / "haproxy.cfg")

    # 5. Look. Whoever trusts the ACME server's root sees a good certificate, by the balancer, under the name.
    root = until(site, "the ACME server answers", lambda: acme_root(site, ca_file))
    trusting = ssl.create_default_context(cadata=root)

    def page():
        with contextlib.closing(socket.create_connection((site.balancer, 443), timeout=5)) as plain:
            with trusting.wrap_socket(plain, server_hostname=NAME) as stream:
                stream.sendall(f"GET / HTTP/1.1\r\nhost: {NAME}\r\naccept: text/html\r\nconnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: stream.recv(65536), b""))
        return answer.startswith(b"HTTP/1.1 200") and b"<html" in answer.lower()

    # The masters do not know the name, so they ask for the certificate after having tried it for a minute.
    until(site, "the page is served with an issued certificate", page)
    key, secret = (site.directory / "a/etc/sala/keys.yaml").read_text().strip().split(": ")
    plain = f"http://{site.net}13:7880"
    site.shell("sala room list", "m1", LIVEKIT_URL=plain, LIVEKIT_API_KEY=key, LIVEKIT_API_SECRET=secret)
    redirect = socket.create_connection((site.balancer, 80), timeout=5)
    redirect.sendall(f"GET /m/x HTTP/1.0\r\nhost: {NAME}\r\n\r\n".encode())
    assert b"location: https://" in redirect.recv(4096).lower()

    # A master dies; the page is still there, at the first try once the balancer has seen it.
    dead = site.children[len(MASTERS) + 2]
    dead.kill()
    until(site, "the page without m1", page)
    assert haproxy.poll() is None


def acme_root(site, ca_file):
    context = ssl.create_default_context(cafile=ca_file)
    with urllib.request.urlopen(f"https://{site.net}200:15000/roots/0", context=context, timeout=5) as answer:
        return answer.read().decode()
