"""docs/deploy/oracle-ha.md, read as its reader does: settings, files, commands, and the log lines it promises."""

import re
from pathlib import Path

from .simulator import ROOT

GUIDE = ROOT / "docs/deploy/oracle-ha.md"
CODE = re.compile(r"`([^`\n]+)`")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.M | re.S)
    assert found, f"{GUIDE.name} has no section {title}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Rows of all tables, without their headings."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    headings = {at - 1 for at, line in enumerate(lines) if set(line) <= set("|- ")}
    kept = [line for at, line in enumerate(lines) if at not in headings and not set(line) <= set("|- ")]
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in kept]


def settings() -> dict[str, str]:
    """Each setting of the section on credentials, with what is said about it."""
    return {name: meaning for cells, meaning in rows(section("Credentials")) for name in CODE.findall(cells)}


def files() -> list[str]:
    return [code for code in CODE.findall(section("Credentials")) if code.startswith("/opt/")]


def promised() -> list[tuple[str, str]]:
    """Unit and text of each log line in the section on troubleshooting."""
    log_lines = section("Troubleshooting").split("Log line, and what to do")[1]
    return [(where, code) for where, line, _remedy in rows(log_lines) for code in CODE.findall(line)]


def is_promised(unit: str, line: str) -> bool:
    """Whether a reader who sees the line finds it in the table."""
    shape = lambda text: ".*".join(map(re.escape, text.split("…")))  # noqa: E731
    return any(where == unit and re.search(shape(text), line) for where, text in promised())


def looks() -> list[list[str]]:
    """Commands by which the guide says to look at a machine, without sudo."""
    cells = [where for _what, where in rows(section("Troubleshooting").split("Log line, and what to do")[0])]
    found = [code for cell in cells for code in CODE.findall(cell)]
    unit_flags = [code for code in found if code.startswith("-u ")]
    whole = [code.removeprefix("sudo ").split() for code in found if code.startswith("sudo ")]
    return whole + [["journalctl", *flag.split()] for flag in unit_flags]
