"""A throw-away PostgreSQL server from the binaries on this machine: with a password, on a free port of TCP."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

USER, PASSWORD = "mlflow", "p@ss/w:rd %41 ü"  # everything that a URL would have to quote
_UNPRIVILEGED = ("postgres", "nobody")  # PostgreSQL refuses to run as root


@dataclass(frozen=True)
class Postgres:
    """A running server; every database on it belongs to :data:`USER`."""

    port: int

    def make_database(self, name: str) -> dict[str, str]:
        """Make an empty database; returns the environment with which libpq finds it and its password."""
        environment = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": name,
        }
        with self._connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return environment

    def tables(self, database: str) -> set[str]:
        """Names of the tables in a database."""
        with self._connect(database) as connection:
            rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            return {str(name) for (name,) in rows}

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True
        )


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a server; skips the test, saying so, where PostgreSQL is not installed."""
    initdb, pg_ctl = _binary("initdb"), _binary("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql): MLflow on it is NOT tested")
    # Not pytest's folder, which only its owner may enter.
    root = Path(tempfile.mkdtemp(prefix="kineflow-postgres-", dir="/tmp"))
    owner = next(name for name in _UNPRIVILEGED if _exists(name)) if os.geteuid() == 0 else None
    try:
        password_file, data = root / "password", root / "data"
        password_file.write_text(PASSWORD)
        if owner is not None:
            for path in (root, password_file):
                shutil.chown(path, owner)

        def run(*command: str | Path) -> None:
            subprocess.run(
                [str(word) for word in command],
                check=True,
                user=owner,
                cwd=root,
                stdout=subprocess.DEVNULL,
                timeout=120,
            )

        run(initdb, "--pgdata", data, "--username", USER, f"--pwfile={password_file}", "--auth=scram-sha-256",
            "--encoding=UTF8", "--no-locale", "--no-sync")  # fmt: skip
        port = free_port()
        settings = f"-c listen_addresses=127.0.0.1 -p {port} -k '' -c fsync=off"
        run(pg_ctl, "--pgdata", data, "--log", root / "log", "--wait", "-o", settings, "start")
        try:
            yield Postgres(port)
        finally:
            run(pg_ctl, "--pgdata", data, "--mode=immediate", "--wait", "stop")
    finally:
        shutil.rmtree(root)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binary(name: str) -> Path | None:
    """On the path, or where Debian keeps it: ``/usr/lib/postgresql/<version>/bin``."""
    on_path = shutil.which(name)
    installed = [Path(on_path)] if on_path else sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return installed[-1] if installed else None


def _exists(user: str) -> bool:
    import pwd

    return user in {entry.pw_name for entry in pwd.getpwall()}
