"""Shared by all tests: quiet and offline libraries, one thread a test process, real data, tiny data, tiny models."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test asserts a wall time: a machine that does something else beside would fail it.
settings.register_profile("thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("kineflow", settings.get_profile("thorough"), max_examples=30)
settings.load_profile("kineflow")

pytest_plugins = ["tests.swift"]

os.environ |= {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "AWS_EC2_METADATA_DISABLED": "true",
}
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not Path("/dev/nvidiactl").exists():  # without a GPU Triton interprets, if told so before anybody imports it
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Workers and the processes that they start compile each module once, whatever the shell around them says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


LONGEST = ("tests/pipelines/test_engines.py", "tests/test_no_credentials.py")  # whole recipes, a process a step


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a server of its own; begin with long files, so that no worker is left alone with one."""
    for item in items:
        if "swift" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    items.sort(key=lambda item: (not item.nodeid.startswith(LONGEST), "slow" not in item.keywords))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips, exact flow and official splits; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real clips, exact flow and official splits are not here (../shared/data)")
    return SHARED_DATA


@dataclass(frozen=True)
class TinyData:
    """A clip set and a flow set on disk; tests read them and write elsewhere."""

    clips: Path
    flow: Path


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    """Clips of 6 frames, 16×16 px: two classes that differ in brightness and motion; 4 train, 2 val, 4 unlabelled."""
    import numpy as np

    from kineflow.sets.clip_set import Clip, ClipSet
    from kineflow.sets.flow_file import write_flow
    from kineflow.sets.flow_set import FlowEntry, FlowSet
    from kineflow.spec.split import Split
    from kineflow.spec.status import Status
    from kineflow.video.encode import write_video

    clips_folder, flow_folder = (tmp_path_factory.mktemp(name) for name in ("clips", "flow"))
    rng, classes = np.random.default_rng(0), ("dark", "light")
    clips, entries = [], {}
    for split, count in ((Split.TRAIN, 4), (Split.VAL, 2), (Split.UNLABELLED, 4)):
        for number in range(count):
            clip_id, kind = f"{split}-{number}", number % 2
            frames = rng.integers(90 * kind, 90 * kind + 60, (6, 16, 16, 3), dtype=np.uint8)
            levels = rng.integers(90 * kind, 90 * kind + 60, (5, 16, 16, 2), dtype=np.uint8)
            write_video(clips_folder / "media" / f"{clip_id}.mp4", frames, fps=25)
            write_flow(flow_folder / "media" / f"{clip_id}.mp4", levels)
            clips.append(
                Clip(
                    clip_id=clip_id,
                    path=f"{clip_id}.mp4",
                    label=None if split is Split.UNLABELLED else classes[kind],
                    group=clip_id,
                    split=split,
                    frames=6,
                    fps=25.0,
                    width=16,
                    height=16,
                    rotation=0,
                    sha256=clip_id,
                    status=Status.OK,
                    reason="",
                    source=clip_id,
                )
            )
            entries[clip_id] = FlowEntry(clip_id, f"{clip_id}.mp4", 5, 16, 16, Status.OK, "")
    ClipSet(classes, tuple(clips), str(clips_folder / "media")).save(clips_folder)
    FlowSet(20.0, entries, str(flow_folder / "media")).save(flow_folder)
    return TinyData(clips_folder, flow_folder)


@pytest.fixture(scope="session")
def tiny_initial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of initial weights by modality: the narrowest and shallowest S3D, without a classifier."""
    import torch

    from kineflow.models.bundle import save_bundle
    from kineflow.models.card import ModelCard
    from kineflow.models.registry import create_model
    from kineflow.spec.preprocessing import Preprocessing

    folder = tmp_path_factory.mktemp("initial")
    hyperparameters = {"width": 0.125, "last_stage": "Mixed3c", "bn_momentum": 0.1}
    for modality, channels in (("rgb", 3), ("flow", 2)):
        torch.manual_seed(channels)
        network = create_model("s3d", num_classes=0, in_channels=channels, **hyperparameters)
        preprocessing = Preprocessing(modality, 64, 1, 256, 224, mean=(128.0,) * channels, std=(64.0,) * channels)
        card = ModelCard(f"initial-{modality}", "s3d", hyperparameters, (), preprocessing, {"origin": "from scratch"})
        save_bundle(folder / modality, network, card)
    return {"rgb": folder / "rgb", "flow": folder / "flow"}
