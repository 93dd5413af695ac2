"""Which tests share a process, what a run measured, and the end of the process. A plugin, loaded by conftest.py."""

import os
import sys

import pytest
from xdist.scheduler import LoadScopeScheduling

from .stack import CACHE

FIGURES = CACHE / "measured.txt"


# Files of the rehearsal that share a deployment, so they run in one process; each other file there has its own.
# (xdist's own loadgroup, 3.8.0, does not group under pytest 9.2.)
SHARED = {
    "plain": ("test_boot.py", "test_guide.py", "test_secrets.py"),
    "elastic": ("test_certificates.py", "test_growth.py", "test_mode.py", "test_orphans.py", "test_turns.py", "test_weather.py"),
}


class Sharing(LoadScopeScheduling):
    """Tests by what they share."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        if "rehearsal/" not in file:
            return nodeid
        return next((stack for stack, files in SHARED.items() if file.endswith(files)), file)


def pytest_xdist_make_scheduler(config, log):
    return Sharing(config, log)


def note(text: str) -> None:
    """A line for the end of the report, from whatever process of the run."""
    CACHE.mkdir(exist_ok=True)
    with FIGURES.open("a") as file:
        file.write(text + "\n")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        FIGURES.unlink(missing_ok=True)


def pytest_terminal_summary(terminalreporter):
    if FIGURES.exists():
        terminalreporter.section("measured in the rehearsal")
        for line in sorted(FIGURES.read_text().splitlines()):
            terminalreporter.line(line)


def pytest_sessionfinish(session, exitstatus):
    session.config.exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Ends the process without taking the interpreter apart: see e2e/python/conftest.py."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(getattr(config, "exit_status", 1))
