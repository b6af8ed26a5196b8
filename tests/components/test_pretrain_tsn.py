from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from components.pretrain_tsn import pretrain_tsn
from kineflow.models import normalisation
from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.models.normalisation import CAFFE, TORCHVISION
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.models.registry import create_backbone
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of

pytestmark = pytest.mark.slow

STREAMS = ("rgb", "difference", "flow", "warped")


def run(folder: Path, *, seed: int = 0, **params: Any) -> dict[str, Path]:
    folders = {name: folder / name for name in STREAMS}
    pretrain_tsn(params=PretrainTsnSettings(**{"width": 0.125} | params), seed=seed, **folders)
    return folders


def checkpoint(path: Path) -> dict[str, str]:
    torch.manual_seed(9)
    torch.save(create_backbone("bn_inception", num_classes=10, width=0.125).state_dict(), path)
    return {"checkpoint": str(path), "sha256": sha256_of(path)}


@pytest.mark.parametrize(
    ("stream", "modality", "length", "planes", "dropout"),
    [
        ("rgb", "rgb", 1, 3, 0.8),
        ("difference", "rgb_difference", 5, 15, 0.8),
        ("flow", "flow", 5, 10, 0.7),
        ("warped", "warped_flow", 5, 10, 0.7),
    ],
)
def test_each_stream_is_the_paper_s(
    tmp_path: Path, stream: str, modality: str, length: int, planes: int, dropout: float
) -> None:
    network, card = load_bundle(run(tmp_path)[stream])
    assert (card.preprocessing.modality, card.preprocessing.frames, card.preprocessing.segments) == (
        modality,
        length,
        3,
    )
    assert network.stem.in_channels == planes
    assert card.hyperparameters["dropout"] == dropout
    assert card.classes == ()
    network.reset_classifier(4)
    with torch.no_grad():
        assert network(torch.zeros(1, planes // length, 3 * length, 64, 64)).shape == (1, 4)


def test_all_streams_start_from_one_checkpoint_and_take_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = checkpoint(tmp_path / "weights.pth")
    stored = torch.load(tmp_path / "weights.pth", weights_only=True)
    monkeypatch.setattr(normalisation, "_BY_CHECKPOINT", {f"bn_inception-{published['sha256'][:9]}": CAFFE})
    for stream, folder in run(tmp_path, **published).items():
        network, card = load_bundle(folder)
        weights = network.state_dict()
        assert torch.equal(weights["backbone.inception_5b_1x1.weight"], stored["inception_5b_1x1.weight"])
        assert card.lineage["checkpoint_sha256"] == published["sha256"]
        assert ("cross_modality" in card.lineage) is (stream != "rgb")
        wanted = card.preprocessing
        assert wanted.channel_order == ("bgr" if stream in ("rgb", "difference") else "rgb")
        means = {"rgb": CAFFE.mean, "difference": (0.0,) * 3}.get(stream, (128.0,) * 2)
        assert (wanted.mean, set(wanted.std)) == (means, {1.0})


def test_the_input_of_an_unknown_checkpoint_must_be_told(tmp_path: Path) -> None:
    published = checkpoint(tmp_path / "mine.pth")
    with pytest.raises(KineflowError, match=r"nothing is known of the input that .*mine\.pth takes"):
        run(tmp_path / "out", **published)
    card = load_bundle(run(tmp_path / "out", **published, normalisation="torchvision")["rgb"])[1]
    assert card.preprocessing.mean == TORCHVISION.mean


def test_from_scratch_every_stream_draws_its_own(tmp_path: Path) -> None:
    folders = run(tmp_path)
    digests = {weights_digest(folder) for folder in folders.values()}
    assert len(digests) == 4
    assert load_bundle(folders["flow"])[1].lineage == {"initialised": "from scratch", "seed": "2"}


def test_the_seed_decides_every_weight(tmp_path: Path) -> None:
    first, again, other = (
        [weights_digest(folder) for folder in run(tmp_path / name, seed=seed).values()]
        for name, seed in (("first", 3), ("again", 3), ("other", 9))
    )
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"checkpoint": "a.pth"}, "checkpoint and sha256 go together"),
        ({"backbone": "s3d"}, "network.backbone"),
        ({"segments": 0}, "network.segments"),
        ({"consensus": "mean"}, "network.consensus"),
        ({"flow_dropout": 1}, "network.flow_dropout"),
        ({"output_stride": 4}, "network.output_stride"),
    ],
)
def test_impossible_params_are_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(KineflowError) as caught:
        parse_params(PretrainTsnSettings, values, where="network")
    assert named in str(caught.value)


def test_params_and_step_import_no_torch() -> None:
    code = "import sys, components.pretrain_tsn; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
