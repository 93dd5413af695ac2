"""Gives each simulated machine a processor of its own: `python -m sala_oci.meter STATE_DIR CPUS` writes what `/proc/stat`
says on a machine with CPUS processors into `proc-stat` beside its file system, from what its own processes use.

All machines of a rehearsal share one host. Without this each node would read the load of the whole host as its own."""

import os
import sys
import threading
from pathlib import Path

INTERVAL_S = 0.5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
FILE = "proc-stat"
# So much finer than the host's ticks: a share of a processor has few of them. Readers divide.
FINER = 1000
# `cpu` and its figures, always as long: readers see all of it or nothing.
LINE = "cpu  {busy:015d} 0 0 {idle:015d} 0 0 0 0 0 0\n"


class Meter:
    def __init__(self, state: Path, cpus: float) -> None:
        self.machines, self.cpus = str(state / "machines") + "/", cpus
        self.roots: dict[tuple[str, str], str | None] = {}
        self.used: dict[tuple[str, str], int] = {}
        self.totals: dict[str, list[int]] = {}

    def look(self, elapsed_s: float) -> None:
        fresh: dict[str, int] = {}
        alive = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            stat = read(f"/proc/{pid}/stat")
            if not stat:
                continue
            # After the name: state, parent, …; user and system time are the 14th and 15th of all, the start the 22nd.
            fields = stat[stat.rindex(b")") + 2 :].split()
            process = (pid, fields[19].decode())
            alive.add(process)
            root = self.root_of(process)
            if root is None:
                continue
            ticks = int(fields[11]) + int(fields[12])
            fresh[root] = fresh.get(root, 0) + ticks - self.used.get(process, 0)
            self.used[process] = ticks
        for gone in self.roots.keys() - alive:
            self.roots.pop(gone)
            self.used.pop(gone, None)
        all_ticks = int(elapsed_s * TICKS_PER_S * self.cpus * FINER)
        for root, busy in fresh.items():
            total = self.totals.setdefault(root, [0, 0])
            total[0] += busy * FINER
            total[1] += max(0, all_ticks - busy * FINER)
            write(Path(root).parent / FILE, LINE.format(busy=total[0], idle=total[1]))

    def root_of(self, process: tuple[str, str]) -> str | None:
        if process not in self.roots:
            entries = read(f"/proc/{process[0]}/environ").split(b"\0")
            root = next((entry[10:].decode() for entry in entries if entry.startswith(b"SALA_ROOT=")), None)
            self.roots[process] = root if root and root.startswith(self.machines) else None
        return self.roots[process]


def read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def write(path: Path, line: str) -> None:
    """In place: the node has this very file mounted."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    except OSError:
        return
    os.pwrite(file, line.encode(), 0)
    os.close(file)


def main() -> None:
    import time

    meter = Meter(Path(sys.argv[1]), float(sys.argv[2]))
    before = time.monotonic()
    parent = os.getppid()
    while os.getppid() == parent:
        threading.Event().wait(INTERVAL_S)
        now = time.monotonic()
        meter.look(now - before)
        before = now


if __name__ == "__main__":
    main()
