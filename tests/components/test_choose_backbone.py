from pathlib import Path

import pytest
import torch

from components.choose_backbone import choose_backbone
from components.frontend.run import execute
from components.pretrain_tsn import pretrain_tsn
from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.storage.errors import KineflowError

NETWORK = {"backbone": "googlenet", "width": 0.125, "output_stride": 8, "segments": 1, "flow_frames": 1,
           "difference_frames": 1, "cross_modality": False}  # fmt: skip
STREAMS = ("rgb", "difference", "flow")


@pytest.fixture(scope="module")
def initial(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("initial")
    folders = {name: folder / name for name in (*STREAMS, "warped")}
    execute(pretrain_tsn, {"params": NETWORK, "seed": 2, **folders})
    return {name: folders[name] for name in STREAMS}


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS)
def test_the_stream_s_weights_as_they_are(initial: dict[str, Path], tmp_path: Path, stream: str) -> None:
    params = {"stream": stream, "fit": "crop", "short_side": 20, "crop": 16}
    execute(choose_backbone, {**initial, "params": params, "backbone": tmp_path / "backbone"})
    assert weights_digest(tmp_path / "backbone") == weights_digest(initial[stream])
    _, before = load_bundle(initial[stream])
    _, after = load_bundle(tmp_path / "backbone")
    assert after.preprocessing.modality == before.preprocessing.modality
    assert (after.preprocessing.fit, after.preprocessing.short_side, after.preprocessing.crop) == ("crop", 20, 16)
    assert (after.preprocessing.mean, after.lineage) == (before.preprocessing.mean, before.lineage)


def test_whole_frames_by_default(initial: dict[str, Path], tmp_path: Path) -> None:
    execute(choose_backbone, {**initial, "params": {}, "backbone": tmp_path / "backbone"})
    network, card = load_bundle(tmp_path / "backbone")
    assert (card.preprocessing.modality, card.preprocessing.fit, card.preprocessing.crop) == ("rgb", "squash", 224)
    assert isinstance(network.stem.weight, torch.Tensor)


@pytest.mark.slow
def test_stacks_of_frames_are_refused(initial: dict[str, Path], tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in (*STREAMS, "warped")}
    execute(pretrain_tsn, {"params": {**NETWORK, "flow_frames": 5}, **folders})
    given = {name: folders[name] for name in STREAMS}
    with pytest.raises(KineflowError, match="one frame"):
        execute(
            choose_backbone,
            {**given, "params": {"stream": "flow"}, "backbone": tmp_path / "backbone"},
        )
    assert not (tmp_path / "backbone").exists()
