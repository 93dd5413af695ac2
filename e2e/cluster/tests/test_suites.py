"""The suites of one server hold behind balancer and masters too, and browsers survive deaths of nodes."""

import asyncio
import os

import pytest

from sala_cluster.cluster import Cluster
from sala_cluster.limits import FIGURES
from sala_e2e.server import REPOSITORY

LIMIT_S = 900

only_for_figures = pytest.mark.skipif(not FIGURES, reason="took long enough against one server")


@pytest.mark.parametrize(
    "words, place",
    [
        (["npm", "run", "--silent", "cluster"], "e2e/browser"),
        pytest.param(["npm", "run", "--silent", "run"], "e2e/browser", marks=only_for_figures),
        pytest.param([".venv/bin/pytest", "-q"], "e2e/python", marks=only_for_figures),
    ],
    ids=["browsers-and-deaths", "browser-suite", "python-suite"],
)
async def test_suite(cluster: Cluster, words, place):
    environment = {
        **os.environ,
        "SALA_CLUSTER_DIR": str(cluster.home),
        "SALA_E2E_URL": cluster.server.url,
        "SALA_E2E_API_KEY": cluster.server.key,
        "SALA_E2E_API_SECRET": cluster.server.secret,
    }
    suite = await asyncio.create_subprocess_exec(
        *words,
        cwd=REPOSITORY / place,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        told, _ = await asyncio.wait_for(suite.communicate(), LIMIT_S)
    finally:
        if suite.returncode is None:
            suite.kill()
    print(told.decode()[-6000:])
    assert suite.returncode == 0
