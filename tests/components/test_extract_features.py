import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from components.extract_features import extract_features
from components.frontend.run import execute
from kineflow.models.bundle import load_bundle, save_bundle, weights_digest
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.feature_set import FeatureSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames

SHAPE = (128, 2, 2)


def backbone(folder: Path, modality: str = "rgb", *, shift: float = 0.0) -> Path:
    channels = 2 if modality == "flow" else 3
    hyperparameters = {"backbone": "googlenet", "width": 0.125, "output_stride": 8}
    torch.manual_seed(0)
    network = create_model("tsn", num_classes=0, in_channels=channels, **hyperparameters)
    preprocessing = Preprocessing(modality, 1, 1, 16, 16, (100.0 + shift,) * channels, (50.0,) * channels, segments=1)
    save_bundle(folder, network, ModelCard("b", "tsn", hyperparameters, (), preprocessing))
    return folder


@pytest.fixture
def given(tiny_data, tmp_path: Path) -> dict:
    return {"clips": tiny_data.clips, "backbone": backbone(tmp_path / "backbone"), "params": {},
            "features": tmp_path / "out" / "features"}  # fmt: skip


def run(given: dict):
    return execute(extract_features, given)


def test_writes_a_feature_set_and_nothing_else(given, tiny_data, tmp_path):
    result = run(given)
    features = FeatureSet.load(given["features"])
    clip_set = ClipSet.load(tiny_data.clips)
    wanted = clip_set.usable(Split.TRAIN, Split.VAL)
    assert features.usable_ids() == {clip.clip_id for clip in wanted}
    assert features.shape == SHAPE
    assert features.source.backbone == weights_digest(given["backbone"])
    assert (features.source.preprocessing.segments, features.source.flow) == (0, None)
    assert [path.name for path in given["features"].parent.iterdir()] == ["features"]
    assert (result.metrics["clips"], result.metrics["failed"], result.metrics["frames"]) == (6, 0, 30)
    assert "128x2x2" in result.summary

    network, _ = load_bundle(given["backbone"])
    frames = torch.from_numpy(read_frames(clip_set.locate(wanted[0]))[:5]).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = network.backbone.forward_features((frames - 100) / 50)
    found = features.read(wanted[0].clip_id, np.arange(5))
    torch.testing.assert_close(found, expected, rtol=2**-10, atol=1e-3)


def test_splits_and_tap(given):
    run({**given, "params": {"splits": ["unlabelled"], "tap": "vector"}})
    features = FeatureSet.load(given["features"])
    assert (features.shape, len(features.usable_ids()), features.source.tap) == ((128,), 4, "vector")


def test_media_elsewhere(given, tmp_path):
    params = {"media_root": str(tmp_path / "volume")}
    first = run({**given, "params": params})
    features = FeatureSet.load(given["features"])
    assert features.media_root == str(tmp_path / "volume")
    assert not (given["features"] / "media").exists()
    assert features.read("train-0", np.arange(2)).shape == (2, *SHAPE)
    again = run({**given, "params": params, "features": tmp_path / "again"})
    assert again.metrics["frames_per_second"] == 0 < first.metrics["frames_per_second"]


def test_work_that_was_interrupted_is_found_again(given, monkeypatch):
    from kineflow.training import feature_extraction

    written, write = [], feature_extraction.write_features

    def stops(*arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments[0])
        write(*arguments)

    monkeypatch.setattr(feature_extraction, "write_features", stops)
    with pytest.raises(KeyboardInterrupt):
        run(given)
    assert not given["features"].exists()
    before = {path: path.stat().st_mtime_ns for path in written}

    def writes(path, features):
        assert path not in before
        write(path, features)

    monkeypatch.setattr(feature_extraction, "write_features", writes)
    run(given)
    assert len(FeatureSet.load(given["features"]).usable_ids()) == 6
    assert [path.name for path in given["features"].parent.iterdir()] == ["features"]


def test_a_backbone_that_sees_flow(given, tiny_data, tmp_path):
    flow_set = FlowSet.load(tiny_data.flow)
    entries = {name: entry for name, entry in flow_set.entries.items() if name != "train-0"}
    dataclasses.replace(flow_set, entries=entries).save(tmp_path / "flow")
    sees_flow = {**given, "backbone": backbone(tmp_path / "flow_backbone", "flow")}
    with pytest.raises(KineflowError, match="no flow set"):
        run(sees_flow)
    result = run({**sees_flow, "flow": tmp_path / "flow"})
    assert (result.metrics["clips"], result.metrics["failed"]) == (5, 1)
    features = FeatureSet.load(given["features"])
    assert features.entries["train-0"].reason == "no flow: not in the flow set"

    dataclasses.replace(flow_set, entries={}).save(tmp_path / "empty")
    with pytest.raises(KineflowError, match="no clip has features"):
        run({**sees_flow, "flow": tmp_path / "empty"})


def test_frames_need_no_flow(given, tiny_data, tmp_path):
    dataclasses.replace(FlowSet.load(tiny_data.flow), entries={}).save(tmp_path / "empty")
    assert run({**given, "flow": tmp_path / "empty"}).metrics["clips"] == 6
    assert FeatureSet.load(given["features"]).source.flow is None


def test_splits_without_clips(given):
    with pytest.raises(KineflowError, match="no usable clip in the splits test"):
        run({**given, "params": {"splits": ["test"]}})
    assert not given["features"].exists()


@pytest.mark.parametrize("params", [{"splits": []}, {"tap": "fc7"}, {"batch_frames": 0}, {"media_root": "s3://x"}])
def test_parameters_out_of_range(given, params):
    with pytest.raises(KineflowError):
        run({**given, "params": params})
