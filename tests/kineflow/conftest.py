"""A prepared store and a tiny bundle for the tests of tracking."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kineflow.tracking.store import DATABASE_FILE, prepare_store

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")


@pytest.fixture(scope="session")
def template_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh SQLite store, made once."""
    path = tmp_path_factory.mktemp("template") / DATABASE_FILE
    prepare_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def project(template_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, which is the working folder and holds a prepared store."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "KINEFLOW_DATA_VERSION", "KINEFLOW_GIT_COMMIT"):
        monkeypatch.delenv(name, raising=False)
    shutil.copyfile(template_store, tmp_path / DATABASE_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Bundle of a tiny student whose weights depend on a seed."""
    import torch

    from kineflow.models.bundle import save_bundle
    from kineflow.models.card import ModelCard
    from kineflow.models.registry import create_model
    from kineflow.spec.preprocessing import Preprocessing

    def make(seed: int) -> Path:
        folder = tmp_path_factory.mktemp("bundles") / f"student-{seed}"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = create_model("s3d", num_classes=3, width=0.0625)
        preprocessing = Preprocessing("rgb", 8, 1, 64, 64, (114.75,) * 3, (57.375,) * 3)
        lineage = {"teacher": "flow-teacher", "teacher.sha256": "ab" * 32}
        classes = ("left", "right", "spin")
        save_bundle(folder, network, ModelCard("student", "s3d", {"width": 0.0625}, classes, preprocessing, lineage))
        return folder

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle: Callable[[int], Path]) -> Path:
    return make_bundle(0)
