"""What is in the image, and what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kineflow import __version__
from kineflow.spec.schema import DATA_SCHEMA_VERSION
from kineflow.tracking.lineage import git_tags, tree_digest

pytestmark = pytest.mark.containers

ROOT = Path(__file__).resolve().parents[2]


def test_labels_lead_back_to_the_code_and_the_data_schema(inspected: dict[str, Any]) -> None:
    labels = inspected["Config"]["Labels"]
    commit = git_tags(ROOT).get("git.commit", "")
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == commit
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["kineflow.data-schema-version"] == str(DATA_SCHEMA_VERSION)
    assert labels["kineflow.source-digest"] == tree_digest(ROOT)
    assert f"KINEFLOW_GIT_COMMIT={labels['org.opencontainers.image.revision']}" in inspected["Config"]["Env"]


def test_the_user_is_nobody_in_particular_and_given_by_number(inspected: dict[str, Any]) -> None:
    assert inspected["Config"]["User"] == "10001:10001"


def test_dependencies_are_a_layer_apart_from_code(image: str) -> None:
    said = subprocess.run(
        ["docker", "history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    sizes = {line.split("COPY ")[1].split()[1]: int(line.split()[0]) for line in said.splitlines() if "COPY /" in line}
    assert sizes["/opt/kineflow"] < 20e6 < sizes["/opt/venv"]


def test_nothing_of_this_machines_package_sources_is_left(
    image: str, inspected: dict[str, Any], in_image: Callable[..., str]
) -> None:
    settings = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    places = [word.strip("'\"") for line in settings.stdout.splitlines() for word in line.partition("=")[2].split()]
    secrets = [place for place in places if "/" in place]
    secrets += [part for place in places for part in (urlsplit(place).password, urlsplit(place).hostname) if part]
    secrets += [os.environ[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy") if os.environ.get(name)]
    secrets += ["127.0.0.1", "index-url", "find-links", "PIP_", "/run/secrets"]
    history = subprocess.run(
        ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}} {{.Comment}}", image],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    ours = history[: history.index("ldconfig")] if "ldconfig" in history else history  # the base image's are its own
    for secret in secrets:
        assert secret not in ours + json.dumps(inspected["Config"]), secret
    left = in_image("sh", "-c", "ls -d /etc/pip.conf /run/secrets /root/.cache /root/.config 2>/dev/null || true")
    assert left.strip() in ("", "/run/secrets")
    assert in_image("sh", "-c", "ls /run/secrets 2>/dev/null || true").strip() == ""


def test_nothing_that_builds_or_tests_is_in_it(in_image: Callable[..., str]) -> None:
    listed = in_image(
        "python3", "-c",
        "from importlib.metadata import distributions; print(*sorted(d.name.lower() for d in distributions()))",
    ).split()  # fmt: skip
    assert {"torch", "kfp", "mlflow", "kineflow"} <= set(listed)
    assert not {"pytest", "hypothesis", "ruff", "mypy", "moto", "pre-commit", "pre_commit"} & set(listed)
    assert in_image("sh", "-c", "command -v gcc git curl || true").strip() == ""


def test_versions_are_those_of_the_constraints(in_image: Callable[..., str]) -> None:
    listed = dict(
        line.split("==")
        for line in in_image(
            "python3", "-c",
            "from importlib.metadata import distributions\n"
            "for d in distributions(): print(d.name.lower().replace('_', '-').replace('.', '-'), d.version, sep='==')",
        ).splitlines()
    )  # fmt: skip
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    unpinned = set(listed) - set(pinned) - {"kineflow", "pip", "setuptools"}
    assert unpinned == set()
    differing = {name: (listed[name], pinned[name]) for name in set(listed) & set(pinned)
                 if listed[name].partition("+")[0] != pinned[name]}  # fmt: skip
    assert differing == {}


@pytest.mark.parametrize("command", ["kineflow", "python3 -m components.train", "python3 -m components.extract_flow"])
def test_commands_start_for_a_user_the_system_does_not_know_on_a_read_only_root(
    command: str, in_image: Callable[..., str]
) -> None:
    assert "usage:" in in_image(*command.split(), "--help").lower()


def test_kfps_executor_is_in_it(in_image: Callable[..., str]) -> None:
    assert "--executor_input" in in_image("python3", "-m", "kfp.dsl.executor_main", "--help")
