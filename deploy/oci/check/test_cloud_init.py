"""What cloud-init runs: the binary is fetched, its SHA-256 checked, and only then started."""

import hashlib
import subprocess

import pytest

BINARY = b'#!/bin/sh\necho "started: $*"\n'
SUM = hashlib.sha256(BINARY).hexdigest()


@pytest.fixture
def run(module, tmp_path):
    """Runs the script as Terraform renders it, with /usr/local/bin elsewhere and a file for the URL."""
    served = tmp_path / "served"
    served.write_bytes(BINARY)
    (tmp_path / "bin").mkdir()

    def run(sha256: str, published: str = ""):
        if published:
            (tmp_path / "served.sha256").write_text(f"{published}  sala-linux-x86_64\n")
        script = (module.directory / "cloud-init.sh.tftpl").read_text()
        script = script.replace("${url}", served.as_uri()).replace("${sha256}", sha256)
        script = script.replace("--retry 60", "--retry 0").replace("/usr/local/bin", str(tmp_path / "bin"))
        assert "${" not in script
        outcome = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        return outcome.returncode, outcome.stdout, outcome.stderr, (tmp_path / "bin" / "sala").exists()

    return run


def test_a_binary_with_the_given_sum_is_started(run):
    assert run(SUM) == (0, "started: oci install\n", "", True)


def test_without_a_sum_the_published_one_counts(run):
    assert run("", published=SUM) == (0, "started: oci install\n", "", True)


@pytest.mark.parametrize("sha256, published", [("0" * 64, ""), ("", "0" * 64)])
def test_another_binary_is_neither_installed_nor_started(run, sha256, published):
    code, out, told, installed = run(sha256, published)
    assert (code, out, installed) == (1, "", False)
    assert f"the binary does not have the SHA-256 {'0' * 64}" in told and "salaBinarySha256" in told


def test_a_binary_that_cannot_be_fetched_ends_the_script(run):
    code, out, told, installed = run("")
    assert code != 0 and (out, installed) == ("", False) and "curl" in told
