"""The image under test, and packages that run in it with the settings of the engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.container_settings import open_to_group, run_settings, step_mounts, step_user
from pipelines.engines.kfp_execution import execute_package
from pipelines.engines.run_kfp_docker import step_containers


@pytest.fixture(scope="session")
def image() -> str:
    """Name of the image, built from the present code."""
    name = os.environ.get("KINEFLOW_TEST_IMAGE")
    if not name:
        pytest.skip("no image to test: `make test-containers` gets an engine and builds one")
    return name


@pytest.fixture(scope="session")
def inspected(image: str) -> dict[str, Any]:
    """What Docker says of the image."""
    said = subprocess.run(["docker", "inspect", image], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(said.stdout)[0]
    return found


@pytest.fixture
def in_image(image: str) -> Callable[..., str]:
    """Runs a command in the image as a step would run, and gives what it prints."""

    def run(*command: str) -> str:
        as_a_step = ["--read-only", "--tmpfs", "/tmp:exec", "--network", "none", "--cap-drop", "ALL"]
        return subprocess.run(
            ["docker", "run", "--rm", *as_a_step, "--user", "54321:54321", image, *command],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout

    return run


@pytest.fixture
def run_package(tmp_path: Path) -> Callable[..., tuple[Path, list[Any]]]:
    """Runs a pipeline function as the engine runs a recipe; gives the folder of outputs and the failures."""

    def run(pipeline: Any, inputs: list[Path], number: int = 0) -> tuple[Path, list[Any]]:
        from kfp import compiler

        root = tmp_path / f"outputs-{number}"
        root.mkdir()
        open_to_group([root])
        package = tmp_path / f"package-{number}.yaml"
        compiler.Compiler().compile(pipeline, str(package))
        settings = run_settings(
            os.environ, network="none", user=step_user(os.getuid(), os.getgid()), folder=Path("/work")
        )
        with step_containers(settings, lambda: step_mounts(inputs, None)) as (runner, failed):
            try:
                execute_package(package.read_text(), {}, runner, root)
            except Exception as error:
                failed.append(error)
        return root, failed

    return run
