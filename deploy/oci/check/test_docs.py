"""docs/deploy/oracle-ha.md says what is true: the variables with their defaults, and log lines that the code has."""

import re
from pathlib import Path

import pytest

from evaluate import Scope
from test_variables import MANDATORY

REPOSITORY = Path(__file__).resolve().parents[3]
TEXT = (REPOSITORY / "docs/deploy/oracle-ha.md").read_text()


def test_every_variable_is_documented_with_its_default(module):
    section = TEXT.split("## Variables")[1].split("## Deploy")[0]
    documented = {name: told.strip() for name, told in re.findall(r"^\| `(\w+)` \|([^|]*)\|", section, re.M)}
    assert set(documented) == set(module.variables())
    scope = Scope(module, MANDATORY)
    for name, told in documented.items():
        if name in MANDATORY:
            assert told == "", name
            continue
        default = scope.variables[name]
        if name == "salaBinaryUrl":
            assert told == "the release"
        elif default == "":
            assert told == "blank", name
        elif default in ([], {}):
            assert told == "none", name
        else:
            assert told == f"`{default if not isinstance(default, bool) else str(default).lower()}`", name


def test_every_output_that_is_documented_exists(module):
    outputs = {block.labels[0] for block in module.of_type("output")}
    table = TEXT.split("| output | |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) <= outputs
    assert {"s3_access_key_id", "s3_secret_key", "draining_media_nodes"} <= outputs


def troubleshooting():
    rows = re.findall(r"^\| (\S+) \| (.+?) \| .+ \|$", TEXT.split("test_docs.py. -->")[1].split("## Destroy")[0], re.M)
    return [(where, quoted) for where, line in rows[2:] for quoted in re.findall(r"`([^`]+)`", line)]


# Not ours: what curl and Oracle's API say, and how a value is printed.
FOREIGN = {"curl: (22)", "404", "409", "BucketNotEmpty", "Please go to your home region", "decision=Kept"}


@pytest.mark.parametrize("where, quoted", troubleshooting())
def test_the_log_lines_are_those_of_the_code(where, quoted):
    if quoted in FOREIGN:
        return
    sources = [*(REPOSITORY / "crates").rglob("*.rs"), *(REPOSITORY / "deploy").glob("oci/*.tftpl")]
    texts = [re.sub(r"\\\n\s*", "", path.read_text()) for path in sources if "/tests" not in str(path)]
    everything = "\n".join(texts)
    # What a line is put together from: its fixed parts, without what is filled in.
    prefix = "waiting for "
    part = quoted.removeprefix(prefix).split(" …")[0]
    assert part in everything, f"{where}: no source has {part!r}"
