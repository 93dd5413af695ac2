"""The Debian package: what is in it, that lintian has nothing to say, that it installs, upgrades and goes without a
trace, and that what it installs serves. Installs go into a copy of this machine's system (an overlay that is thrown
away), so they need root; the rest does not.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60


def run(*command, **options):
    done = subprocess.run(command, text=True, capture_output=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    out = tmp_path_factory.mktemp("deb")
    quick = os.environ | {"SALA_DEB_COMPRESSION": "0"}
    path = run(ROOT / "scripts/deb.sh", os.environ["SALA_BIN"], out, env=quick).strip()
    return Path(path)


@pytest.fixture
def tree(package, tmp_path):
    run("dpkg-deb", "-x", package, tmp_path / "tree")
    return tmp_path / "tree"


def test_its_name_and_control_file_say_what_it_is(package):
    architecture = run("dpkg", "--print-architecture").strip()
    version = run(os.environ["SALA_BIN"], "--version").split()[1]
    assert package.name == f"sala_{version}_{architecture}.deb"
    fields = run("dpkg-deb", "-f", package)
    assert f"Version: {version}" in fields and f"Architecture: {architecture}" in fields
    assert re.search(r"^Depends: libc6 \(>= [0-9.]+\), .*adduser", fields, re.M), fields
    assert int(re.search(r"^Installed-Size: (\d+)", fields, re.M)[1]) > 1000


def test_everything_is_where_debian_expects_it_and_roots(package):
    listed = {}
    for line in run("dpkg-deb", "-c", package).splitlines():
        mode, owner, _, _, _, path = line.split(maxsplit=5)
        assert owner == "root/root", line
        listed[path] = mode
    assert listed["./usr/bin/sala"] == "-rwxr-xr-x"
    for path in (
        "./usr/lib/systemd/system/sala.service",
        "./usr/lib/systemd/system/sala-etcd.service",
        "./etc/sala/sala.yaml.example",
        "./usr/share/doc/sala/LICENSE",
        "./usr/share/doc/sala/copyright",
        "./usr/share/doc/sala/configuration.md",
        "./usr/share/doc/sala/cluster.md",
        "./usr/share/doc/sala/deploy/on-premises.md",
        "./usr/share/man/man1/sala.1.gz",
    ):
        assert listed[path] == "-rw-r--r--", path


def test_what_the_operator_edits_is_kept_and_what_is_ours_is_checked(package, tmp_path, tree):
    run("dpkg-deb", "-e", package, tmp_path / "control")
    conffiles = (tmp_path / "control/conffiles").read_text().split()
    etc = [f"/{path.relative_to(tree)}" for path in (tree / "etc").rglob("*") if path.is_file()]
    assert sorted(conffiles) == sorted(etc)
    run("md5sum", "--check", "--quiet", tmp_path / "control/md5sums", cwd=tree)


def test_the_units_are_those_of_the_repository_and_start_what_is_installed(tree):
    for name in ("sala.service", "sala-etcd.service"):
        unit = (tree / "usr/lib/systemd/system" / name).read_text()
        assert unit == (ROOT / "deploy/systemd" / name).read_text()
    unit = (tree / "usr/lib/systemd/system/sala.service").read_text()
    program = re.search(r"^ExecStart=(\S+)", unit, re.M)[1]
    assert (tree / program.lstrip("/")).exists()


def test_lintian_has_nothing_to_say(package):
    said = run("lintian", "--allow-root", "--fail-on", "error,warning", package)
    assert "E:" not in said and "W:" not in said, said


def configure(tree, etc, **ports):
    """/etc/sala under `tree` as an operator makes it of the example, whose paths are as the process sees them."""
    example = (tree / "etc/sala/sala.yaml.example").read_text()
    config = example.replace("/etc/sala", etc).replace("/var/lib/sala/node", f"{etc}/node")
    for example_port, port in ports.items():
        config = config.replace(example_port.lstrip("p"), str(port))
    (tree / "etc/sala/sala.yaml").write_text(config)
    keys = run(tree / "usr/bin/sala", "keys", "generate")
    for name, text in (("keys.yaml", keys), ("admin-password", "a long password\n")):
        (tree / "etc/sala" / name).write_text(text)
        (tree / "etc/sala" / name).chmod(0o600)


def free_ports(count):
    held = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def test_the_installed_server_says_ready_as_its_unit_expects_and_serves(tree, tmp_path):
    http_port, udp, tcp = free_ports(3)
    configure(tree, str(tree / "etc/sala"), p7880=http_port, p7882=udp, p7881=tcp)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(PATIENCE)
    unit = (tree / "usr/lib/systemd/system/sala.service").read_text()
    command = re.search(r"^ExecStart=(.*)", unit, re.M)[1].replace("/usr/", f"{tree}/usr/").replace("/etc/", f"{tree}/etc/")
    log = (tmp_path / "log").open("w")
    environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(tmp_path / "notify")}
    server = subprocess.Popen(command.split(), env=environment, stdout=log, stderr=log, cwd=tmp_path)
    try:
        said = notify.recv(4096).decode()
        assert "READY=1" in said, said
        page = http.client.HTTPConnection("127.0.0.1", http_port, timeout=PATIENCE)
        page.request("GET", "/", headers={"Accept": "text/html"})
        answer = page.getresponse()
        assert answer.status == 200 and b"<html" in answer.read().lower()
        key, secret = (tree / "etc/sala/keys.yaml").read_text().strip().split(": ")
        rooms = {"LIVEKIT_URL": f"http://127.0.0.1:{http_port}", "LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": secret}
        run(tree / "usr/bin/sala", "room", "list", env=environment | rooms)
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    finally:
        server.kill()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="installing into a copy of this system needs root")


class Copy:
    """This machine's system, to be changed without changing it."""

    def __init__(self, place):
        self.place = place

    def script(self, text):
        """Runs a shell script in the copy. What it changes is kept for the next one."""
        mounts = f"""
            mount -t overlay overlay -o lowerdir=/,upperdir={self.place}/upper,workdir={self.place}/work {self.place}/merged
            mount --bind /dev {self.place}/merged/dev
            mount -t proc proc {self.place}/merged/proc
            mount -t tmpfs tmpfs {self.place}/merged/run
            exec chroot {self.place}/merged sh -euc "$SCRIPT"
        """
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SCRIPT": textwrap.dedent(text), "DEBIAN_FRONTEND": "noninteractive"}
        return run("unshare", "--mount", "--pid", "--fork", "sh", "-euc", mounts, env=environment, stdin=subprocess.DEVNULL)


@pytest.fixture
def copy(package):
    # An overlay's upper part cannot lie on an overlay: containers have one as their root, and a tmpfs beside it.
    place = Path("/dev/shm") / f"sala-deb-{os.getpid()}"
    for name in ("upper", "work", "merged"):
        (place / name).mkdir(parents=True)
    copy = Copy(place)
    (place / "upper/opt").mkdir()
    shutil.copy(package, place / "upper/opt/sala.deb")
    yield copy
    shutil.rmtree(place)


@needs_root
def test_it_installs_without_a_question_upgrades_without_loss_and_goes_without_a_trace(copy):
    copy.script("""
        dpkg --install /opt/sala.deb
        getent passwd sala | grep -q ':/var/lib/sala:/usr/sbin/nologin$'
        [ "$(stat -c '%U %a' /var/lib/sala/node)" = 'sala 700' ]
        [ -e /etc/systemd/system/multi-user.target.wants/sala.service ]
        [ ! -e /etc/systemd/system/multi-user.target.wants/sala-etcd.service ]
        sala --version
    """)
    # As an operator: the example edited, a configuration of one's own, and switched off.
    copy.script("""
        echo '# mine' >>/etc/sala/sala.yaml.example
        echo 'port: 7880' >/etc/sala/sala.yaml
        rm /etc/systemd/system/multi-user.target.wants/sala.service
        dpkg --install /opt/sala.deb
        tail -n 1 /etc/sala/sala.yaml.example | grep -q mine
        [ -e /etc/sala/sala.yaml ]
        [ ! -e /etc/systemd/system/multi-user.target.wants/sala.service ]
    """)
    copy.script("""
        dpkg --remove sala
        [ ! -e /usr/bin/sala ]
        [ -e /etc/sala/sala.yaml ]
        dpkg --purge sala
        [ ! -e /etc/sala ] && [ ! -e /var/lib/sala ] && [ ! -e /usr/share/doc/sala ]
        ! dpkg --status sala
    """)


@needs_root
def test_what_the_package_installs_serves_as_its_user(copy):
    http_port, udp, tcp = free_ports(3)
    copy.script(f"""
        dpkg --install /opt/sala.deb
        sed -e s/7880/{http_port}/ -e s/7882/{udp}/ -e s/7881/{tcp}/ /etc/sala/sala.yaml.example >/etc/sala/sala.yaml
        sala keys generate | install -m 640 -g sala /dev/stdin /etc/sala/keys.yaml
        echo 'a long password' | install -m 640 -g sala /dev/stdin /etc/sala/admin-password
        setpriv --reuid sala --regid sala --clear-groups --pdeathsig KILL \
            /usr/bin/sala serve --config /etc/sala/sala.yaml >/opt/log 2>&1 &
        curl --silent --fail --output /dev/null --retry 50 --retry-delay 1 --retry-connrefused http://127.0.0.1:{http_port}/ ||
            {{ cat /opt/log; exit 1; }}
        kill $!
        wait $!
    """)
