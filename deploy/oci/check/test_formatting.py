"""The files are as `terraform fmt` leaves them."""

import shutil
import subprocess

import pytest

import formatting


def test_files_are_formatted(module):
    assert [problem for path in sorted(module.directory.glob("*.tf")) for problem in formatting.problems(path)] == []


@pytest.mark.parametrize(
    "old, new",
    [
        ('  vault_type     = "DEFAULT"', '  vault_type = "DEFAULT"'),
        ('  vault_type     = "DEFAULT"', '   vault_type     = "DEFAULT"'),
        ('  vault_type     = "DEFAULT"', '\tvault_type     = "DEFAULT"'),
        ('  vault_type     = "DEFAULT"', '  vault_type     = "DEFAULT" '),
        ('  vault_type     = "DEFAULT"', '  vault_type     ="DEFAULT"'),
        ("count = var.vault_ocid == \"\" ? 1 : 0\n\n", "count = var.vault_ocid == \"\" ? 1 : 0\n\n\n"),
        ("  vault_id = var.vault_ocid\n}\n", "  vault_id = var.vault_ocid\n\n}\n"),
        ("  vault_id = var.vault_ocid\n}\n", "  vault_id = var.vault_ocid\n  }\n"),
    ],
)  # fmt: skip
def test_what_fmt_would_change_is_found(module, tmp_path, old, new):
    text = (module.directory / "vault.tf").read_text()
    assert old in text
    changed = tmp_path / "vault.tf"
    changed.write_text(text.replace(old, new))
    assert formatting.problems(changed)


@pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not installed; the checks above stand in for it")
def test_terraform_fmt_agrees(module):
    run = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", "-recursive", str(module.directory)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout
