"""Terraform's canonical format, as far as this module's files can leave it: `terraform fmt -check` for where there is
no Terraform. Two spaces for each open bracket, `=` and trailing comments of neighbouring lines aligned, one blank line
at most, none at a block's beginning or end."""

import re
from pathlib import Path

OPEN, CLOSE = "([{", ")]}"


def problems(path: Path) -> list[str]:
    text = path.read_text()
    found = []
    if "\t" in text or "\r" in text:
        found.append(f"{path.name}: tabs or carriage returns")
    if not text.endswith("\n") or text.endswith("\n\n"):
        found.append(f"{path.name}: must end with exactly one newline")
    for number, (is_line, wanted) in enumerate(zip(text.splitlines(), formatted(text)), 1):
        if is_line != wanted:
            found.append(f"{path.name}:{number}: {is_line!r} should be {wanted!r}")
    for number, (before, line) in enumerate(zip(text.splitlines(), text.splitlines()[1:]), 2):
        if not line.strip() and (not before.strip() or strip_text(before).rstrip().endswith("{")):
            found.append(f"{path.name}:{number}: a blank line too many")
        if not before.strip() and line.strip() == "}":
            found.append(f"{path.name}:{number - 1}: a blank line before the end of a block")
    return found


def formatted(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return align(indent(lines))


def indent(lines: list[str]) -> list[str]:
    result, depth = [], 0
    for line in lines:
        bare = strip_text(line)
        # A line counts once, however many brackets it opens: fmt indents `merge([` by one step.
        leading = len(re.match(rf"[{re.escape(CLOSE)}]*", bare)[0])
        balance = sum((char in OPEN) - (char in CLOSE) for char in bare)
        here = depth - (1 if leading else 0)
        result.append("  " * max(here, 0) + line if line else "")
        depth += (balance > 0) - (balance < 0)
    return result


ASSIGNMENT = re.compile(r'^( *)([A-Za-z0-9_.-]+|"[^"]*") *=(?![=>]) *(.*)$')


def align(lines: list[str]) -> list[str]:
    """A run of one-line assignments at one depth has its `=` in one column."""
    result, run = [], []

    def flush():
        width = max((len(name) for _space, name, _value in run), default=0)
        result.extend(f"{space}{name.ljust(width)} = {value}" for space, name, value in run)
        run.clear()

    for line in lines:
        match = ASSIGNMENT.match(line)
        ends_here = match and sum((char in OPEN) - (char in CLOSE) for char in strip_text(line)) == 0
        if match and run and match[1] != run[0][0]:
            flush()
        if match and ends_here:
            run.append(match.groups())
            continue
        flush()
        result.append(f"{match[1]}{match[2]} = {match[3]}" if match else line)
    flush()
    return result


def strip_text(line: str) -> str:
    """The line without what its strings and comments say."""
    result, quoted, depth = [], False, 0
    at = 0
    while at < len(line):
        char = line[at]
        if quoted and char == "\\":
            at += 2
            continue
        if quoted and line.startswith("${", at) and not line.startswith("$${", max(at - 1, 0)):
            quoted, depth = False, depth + 1
            at += 2
            continue
        if not quoted and depth and char == "}":
            quoted, depth = True, depth - 1
        elif char == '"':
            quoted = not quoted
        elif not quoted and not depth and char == "#":
            break
        elif not quoted and not depth:
            result.append(char)
        at += 1
    return "".join(result)
