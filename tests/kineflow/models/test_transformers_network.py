"""Networks of transformers: the library's own answers, behind the contract of a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from kineflow.models.bundle import load_bundle
from kineflow.models.cross_modality import initialise_across_modality
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_model
from kineflow.models.transformers_checkpoint import find_checkpoint, import_checkpoint, load_checkpoint
from kineflow.storage.errors import KineflowError
from tests.tiny_transformers import CLASSES, CONFIGS, FRAMES, PX, write_tiny

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("family", CONFIGS)]


def clips(count: int = 2, *, channels: int = 3, frames: int = FRAMES, px: int = PX) -> torch.Tensor:
    return torch.randn(count, channels, frames, px, px, generator=torch.Generator().manual_seed(1))


def build(folder: Path, family: str, *, num_classes: int, in_channels: int = 3) -> VideoNetwork:
    write_tiny(folder, family)
    text = find_checkpoint(str(folder)).config.text
    return create_model("transformers", num_classes=num_classes, in_channels=in_channels, config=text)


def test_a_bundle_answers_as_the_library_does(tmp_path: Path, family: str) -> None:
    library = write_tiny(tmp_path / "theirs", family)
    import_checkpoint(str(tmp_path / "theirs"), tmp_path / "ours", stride_frames=2)
    network, card = load_bundle(tmp_path / "ours")
    x = clips()
    with torch.no_grad():
        torch.testing.assert_close(network(x), library(x.transpose(1, 2)).logits, rtol=0, atol=1e-6)
    assert card.classes == CLASSES
    wanted = card.preprocessing
    assert (wanted.frames, wanted.stride_frames, wanted.short_side, wanted.crop) == (FRAMES, 2, 40, PX)


def test_it_keeps_the_contract(tmp_path: Path, family: str) -> None:
    network = build(tmp_path, family, num_classes=5, in_channels=2)
    x = clips(channels=2)
    nn.functional.cross_entropy(network(x), torch.tensor([0, 1])).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []
    network.eval()
    with torch.no_grad():
        features = network.forward_features(x)
        assert features.shape[:2] == (2, network.num_features)
        torch.testing.assert_close(network.forward_head(features), network(x))
        assert network.forward_head(features, pre_logits=True).shape == (2, network.head_hidden_size)
        torch.testing.assert_close(network(x)[1:], network(x[1:]), rtol=0, atol=1e-5)
    assert network.stem.in_channels == 2

    stages = tuple(f"{module}." for stage in network.stage_modules() for module in stage)
    behind = {name.split(".")[1] for name in network.state_dict() if not name.startswith(stages)}
    assert behind == {"classifier"} | {"videomae": {"fc_norm"}, "vjepa2": {"pooler"}}.get(family, set())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.reset_classifier(7)
    changed = [name for name, tensor in network.state_dict().items() if before[name].shape != tensor.shape]
    assert changed == ["model.classifier.weight", "model.classifier.bias"]


def test_clips_of_another_length_or_size_are_refused(tmp_path: Path, family: str) -> None:
    network = build(tmp_path, family, num_classes=2)
    for other in (clips(frames=FRAMES * 2), clips(px=PX * 2)):
        with pytest.raises(KineflowError, match="is built for clips of"):
            network(other)


def test_positions_are_made_for_other_clips_where_the_library_does_so(tmp_path: Path, family: str) -> None:
    library = write_tiny(tmp_path, family)
    if family == "vivit":
        with pytest.raises(KineflowError, match="positions for 4 frames alone"):
            find_checkpoint(str(tmp_path), frames=8)
        return
    px = PX if family == "videomae" else 48
    found = find_checkpoint(str(tmp_path), frames=8, size=px)
    network = create_model("transformers", num_classes=len(CLASSES), config=found.shape.text).eval()
    load_checkpoint(network, found)
    x = clips(frames=8, px=px)
    if family == "timesformer":  # interpolates as it runs
        library.config.num_frames, library.config.image_size = 8, px
    else:
        changes = {"num_frames": 8} if family == "videomae" else {"frames_per_clip": 8, "crop_size": px}
        same = write_tiny(tmp_path / "long", family, **changes)
        same.load_state_dict(library.state_dict())
        library = same
    with torch.no_grad():
        torch.testing.assert_close(network(x), library(x.transpose(1, 2)).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("in_channels", [2, 10])
def test_a_flow_network_takes_over_all_but_the_stem(tmp_path: Path, family: str, in_channels: int) -> None:
    source = build(tmp_path / "rgb", family, num_classes=0)
    target = build(tmp_path / "flow", family, num_classes=0, in_channels=in_channels)
    initialise_across_modality(target, source)
    old, new, stem = source.state_dict(), target.state_dict(), f"{source.stem_name}.weight"
    assert all(torch.equal(old[key], new[key]) for key in old if key != stem)
    torch.testing.assert_close(new[stem], old[stem].mean(dim=1, keepdim=True).expand_as(new[stem]))
