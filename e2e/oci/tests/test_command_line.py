"""Oracle's `oci` command."""

import json
import subprocess
import sys
import pathlib

from sala_oci.simulator import COMPARTMENT, NAMESPACE


def test_the_oci_command_works_against_the_cloud(cloud, operator_config, tmp_path):
    key = tmp_path / "key.pem"
    key.write_text(operator_config["key_content"] + "\n")
    key.chmod(0o600)
    config = tmp_path / "config"
    lines = {name: operator_config[name] for name in ("user", "fingerprint", "tenancy", "region")}
    lines["key_file"] = str(key)
    config.write_text("[DEFAULT]\n" + "".join(f"{name}={value}\n" for name, value in lines.items()))
    config.chmod(0o600)

    def run(*words: str) -> str:
        command = [pathlib.Path(sys.executable).parent / "oci", "--config-file", config, "--endpoint", cloud.url, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(run("os", "ns", "get"))["data"] == NAMESPACE
    file = tmp_path / "file"
    file.write_text("from the command line")
    run("os", "object", "put", "--bucket-name", "data", "--namespace", NAMESPACE, "--file", str(file), "--name", "f",
        "--no-multipart")
    back = tmp_path / "back"
    run("os", "object", "get", "--bucket-name", "data", "--namespace", NAMESPACE, "--name", "f", "--file", str(back))
    assert back.read_text() == "from the command line"
    instances = json.loads(run("compute", "instance", "list", "--compartment-id", COMPARTMENT))["data"]
    assert [one["display-name"] for one in instances] == ["stack-master-node-1"]
