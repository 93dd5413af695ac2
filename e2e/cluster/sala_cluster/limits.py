"""How fast the cluster must be: `make cluster-figures` holds it to that, on a machine that does nothing else.

Elsewhere the same tests run shorter, and their limits only tell what works from what does not: a machine that also
builds would fail them for its own slowness."""

import os

FIGURES = bool(os.environ.get("SALA_E2E_FIGURES"))
_PATIENCE = 1 if FIGURES else 5


def within(limit_s: float) -> float:
    """A limit of time, as it counts in this run."""
    return limit_s * _PATIENCE


# Deaths of the node under a call.
KILLS = 50 if FIGURES else 2
# How long the store is away.
OUTAGE_S = 600.0 if FIGURES else 10.0
