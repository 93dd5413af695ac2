"""The suites of one server hold behind balancer and masters too, and browsers survive deaths of nodes."""

import asyncio
import os

import pytest

from sala_cluster.cluster import Cluster
from sala_e2e.server import REPOSITORY

LIMIT_S = 900


@pytest.mark.parametrize(
    "words, place",
    [
        (["npm", "run", "--silent", "cluster"], "e2e/browser"),
        (["npm", "run", "--silent", "run"], "e2e/browser"),
        ([".venv/bin/pytest", "-q"], "e2e/python"),
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
