"""Real servers for the tests of deploy/."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.postgres import Postgres, postgres_server
from tests.swift import swift  # noqa: F401  # the fixture


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; started once a test process."""
    with postgres_server() as server:
        yield server
