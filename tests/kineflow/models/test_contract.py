"""What every registered network must do; a new one is tested by being registered.

Nothing is skipped. Where a network is different, :data:`DIFFERENT` says in what, and the tests hold it to that: one
that is said to refuse small frames has to refuse them, and one whose order is said not to matter must not mind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kineflow.models.frame_networks import FrameNetwork
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_model, hyperparameters_of, list_models
from kineflow.storage.errors import KineflowError

pytestmark = pytest.mark.slow

CLASSES = 5


@dataclass(frozen=True)
class Different:
    """In what a network differs from the others.

    Attributes:
        hyper: Keywords that it is built with.
        channels: Of the clips that it takes.
        stem_sees: What of a clip [B,C,T,H,W] its stem is given, at its first call.
        least_px: A shorter side is refused, with a remedy.
        one_size: Whether it is built for frames of one size, and has to know how many cells their map will have.
        feature_axes: Of what ``forward_features`` gives; 3 are [B,F,T], without a place.
        ordered: Whether the order of the frames matters.
        frozen: Beginnings of the names of weights that do not learn.
    """

    hyper: dict[str, Any] = field(default_factory=dict)
    channels: tuple[int, ...] = (2, 3)
    stem_sees: Callable[[Tensor], Tensor] = lambda clip: clip
    least_px: int = 1
    one_size: bool = False
    feature_axes: int = 5
    ordered: bool = True
    frozen: tuple[str, ...] = ()


OVER_FRAMES = Different(hyper={"hidden": 16, "head_width": 16}, frozen=("appearance.", "motion."), least_px=32)
OVER_TWO = {"channels": (5,), "stem_sees": lambda clip: clip[:, :3]}  # flow has a stem of its own
POOLED = {"hyper": {**OVER_FRAMES.hyper, "pool": True}}  # else they are built for one size
WITH_VECTORS = {"feature_axes": 3}
DIFFERENT = {
    # Only its classifier learns; how much changes is the same backwards.
    "clip_descriptor": Different(
        hyper={"groups": "motion+flow+direction"},
        channels=(5,),
        stem_sees=lambda clip: clip[:, :3],
        ordered=False,
        frozen=("grey.",),
    ),
    "alstm": replace(OVER_FRAMES, one_size=True, **WITH_VECTORS, least_px=15),
    "conv_alstm": replace(OVER_FRAMES, **POOLED),
    "conv_lstm": replace(OVER_FRAMES, **POOLED),
    # The regression answers each frame by itself.
    "cube_regression": replace(OVER_FRAMES, one_size=True, **WITH_VECTORS, least_px=15, hyper={}, ordered=False),
    # It finds the flow of RGB frames, from each to the next; its estimator takes them in 0..1.
    "learnt_flow": Different(
        channels=(3,),
        stem_sees=lambda clip: torch.cat((clip[:, :, :-1], clip[:, :, 1:])) / 255,
        frozen=("estimator.deconv2.",),  # of the release, and used by nothing
        hyper={"estimator_width": 0.125, "bound_px": 5.0},
    ),
    "motion_alstm": replace(OVER_FRAMES, one_size=True, **WITH_VECTORS, **OVER_TWO),
    # The published taps start without a direction in time.
    "st_resnet": Different(
        channels=(5, 7), stem_sees=OVER_TWO["stem_sees"], least_px=3, hyper={"temporal_init": "random"}
    ),
    # Snippets vote, and votes have no order; that of a snippet's frames is tested with TSN.
    "tsn": Different(least_px=7, ordered=False),
    "vgg_alstm": replace(OVER_FRAMES, one_size=True, **WITH_VECTORS),
    "vgg_lstm": replace(OVER_FRAMES, **WITH_VECTORS),
    "videolstm": replace(OVER_FRAMES, **POOLED, **OVER_TWO),
}
LIKE_ANY = Different()
# A constant added to all scores changes no softmax: no gradient, but for rounding.
WITHOUT_EFFECT = "attention.score.bias"

# transformers' networks take clips of one length and size: test_transformers_network.py holds them to the contract.
NETWORKS = [name for name in list_models() if name != "transformers"]
every_network = pytest.mark.parametrize("name", NETWORKS)


def different(name: str) -> Different:
    return DIFFERENT.get(name, LIKE_ANY)


def build(
    name: str,
    *,
    num_classes: int = CLASSES,
    in_channels: int = 0,
    seed: int = 0,
    size: tuple[int, int] = (64, 64),
) -> VideoNetwork:
    hyper = small(name, size)
    torch.manual_seed(seed)
    return create_model(name, num_classes=num_classes, in_channels=in_channels or different(name).channels[-1], **hyper)


def small(name: str, size: tuple[int, int] = (64, 64)) -> dict[str, Any]:
    """Keywords for a small network."""
    known = different(name)
    hyper = {"width": 0.125, **known.hyper} if "width" in hyperparameters_of(name) else dict(known.hyper)
    if known.one_size:
        hyper["cells"] = cells_of(name, size)
    return hyper


def cells_of(name: str, size: tuple[int, int]) -> int:
    """Cells of the map of frames of ``size``; of the least ones for smaller frames."""
    known = different(name)
    with torch.device("meta"):
        network = create_model(name, num_classes=0, in_channels=known.channels[-1], width=0.125, cells=1)
        assert isinstance(network, FrameNetwork)
        frame = torch.empty(1, known.channels[-1], 1, *(max(side, known.least_px) for side in size))
        return network.frame_features(frame)[0].shape[3:].numel()


def clips(name: str, batch: int, steps: int, *size: int, channels: int | None = None) -> Tensor:
    shape = (batch, channels or different(name).channels[-1], steps, *(size or (64, 64)))
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@every_network
def test_stages_and_what_is_behind_them_are_all_of_the_network(name: str) -> None:
    with torch.device("meta"):
        network = build(name)
    stages = [f"{module}." for stage in network.stage_modules() for module in stage]
    names = [key for key, _ in network.named_parameters()]
    behind = {key for key in names if not key.startswith(tuple(stages))}
    assert {key for key in names if key.startswith(f"{network.classifier_name}.")} <= behind
    assert not any(key.startswith(f"{network.stem_name}.") for key in behind)
    if name in ("s3d", "s3d_g", "tsn", "st_resnet", "learnt_flow"):  # others read features of frozen networks
        assert all(key.startswith(f"{network.classifier_name}.") for key in behind)


@pytest.mark.parametrize(("name", "channels"), [(name, n) for name in NETWORKS for n in different(name).channels])
@pytest.mark.parametrize("size", [(12, 64, 80), (17, 57, 43), (33, 64, 64)])
def test_forward_gives_finite_logits_of_any_clip(name: str, channels: int, size: tuple[int, int, int]) -> None:
    network = build(name, in_channels=channels, size=size[1:])
    for mode in (True, False):
        with torch.no_grad():
            logits = network.train(mode)(clips(name, 2, *size, channels=channels))
        assert logits.shape == (2, CLASSES)
        assert logits.isfinite().all()


@every_network
@pytest.mark.parametrize("size", [(1, 64, 64), (2, 32, 32), (4, 16, 16), (1, 1, 1)])
def test_tiny_clips_pass_through_or_are_refused_with_a_remedy(name: str, size: tuple[int, int, int]) -> None:
    network = build(name, size=size[1:]).eval()
    least = different(name).least_px
    if min(size[1:]) < least:
        with pytest.raises(KineflowError, match=f"at least {least} px"):
            network(clips(name, 1, *size))
    else:
        with torch.no_grad():
            assert network(clips(name, 1, *size)).isfinite().all()


@every_network
def test_every_parameter_learns_that_is_not_frozen(name: str) -> None:
    network = build(name)
    nn.functional.cross_entropy(network(clips(name, 4, 12)), torch.tensor([0, 1, 2, 3])).backward()
    idle = {key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    frozen = {key for key, p in network.named_parameters() if not p.requires_grad}
    assert {key for key in idle if not key.endswith(WITHOUT_EFFECT)} == frozen
    prefixes = different(name).frozen
    assert frozen == {key for key, _ in network.named_parameters() if key.startswith(prefixes)}
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@every_network
def test_forward_is_features_then_head(name: str) -> None:
    network = build(name).eval()
    x = clips(name, 2, 16)
    with torch.no_grad():
        features = network.forward_features(x)
        pooled = network.forward_head(features, pre_logits=True)
        torch.testing.assert_close(network.forward_head(features), network(x))
    assert features.ndim == different(name).feature_axes
    assert features.shape[:2] == (2, network.num_features)
    assert pooled.shape == (2, network.head_hidden_size)


@every_network
def test_clips_of_a_batch_do_not_see_each_other(name: str) -> None:
    network = build(name).eval()
    x = clips(name, 3, 12)
    with torch.no_grad():
        alone = network(x[1:2])
        # Of the scores' size, which networks set between 4e-6 and 17: rounding is up to 1e-5 of it, another clip 1e-2.
        torch.testing.assert_close(network(x)[1:2], alone, rtol=0, atol=1e-4 * alone.abs().max().item())


@every_network
def test_the_order_of_frames_matters_where_it_should(name: str) -> None:
    network = build(name).eval()
    x = clips(name, 1, 16)
    with torch.no_grad():
        seen, backwards = (
            network.forward_head(network.forward_features(frames), pre_logits=True) for frames in (x, x.flip(2))
        )
    assert torch.allclose(seen, backwards, rtol=1e-3, atol=1e-3 * seen.std().item()) != different(name).ordered


@every_network
def test_reset_classifier_changes_the_classes_and_nothing_else(name: str) -> None:
    network = build(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.reset_classifier(7)
    assert network.num_classes == 7
    changed = {key for key, value in network.state_dict().items() if before[key].shape != value.shape}
    assert changed
    assert all(key.startswith(f"{network.classifier_name}.") for key in changed)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items() if key not in changed)
    assert network(clips(name, 2, 12)).shape == (2, 7)


@every_network
def test_headless_it_gives_what_a_classifier_would_see(name: str) -> None:
    network = build(name, num_classes=0).eval()
    assert network.num_classes == 0
    assert not [key for key in network.state_dict() if key.startswith(network.classifier_name)]
    x = clips(name, 2, 12)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network.forward_head(network.forward_features(x), pre_logits=True))
    network.reset_classifier(CLASSES)
    with torch.no_grad():
        assert network(x).shape == (2, CLASSES)


@every_network
def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (build(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_network
def test_state_dict_round_trip(name: str) -> None:
    source, target = build(name, seed=0).eval(), build(name, seed=1).eval()
    target.load_state_dict(source.state_dict(), strict=True)
    x = clips(name, 1, 12)
    with torch.no_grad():
        torch.testing.assert_close(source(x), target(x), rtol=0, atol=0)


@every_network
def test_the_stem_is_the_layer_that_sees_the_pixels(name: str) -> None:
    network = build(name)
    seen: list[Tensor] = []
    network.stem.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    x = clips(name, 2, 12)
    network(x)
    expected = different(name).stem_sees(x)
    assert network.stem.in_channels == expected.shape[1]
    assert seen[0].numel() == expected.numel()
    torch.testing.assert_close(seen[0].flatten().sort().values, expected.flatten().sort().values)


@every_network
def test_dropout_is_idle_in_evaluation(name: str) -> None:
    network = build(name).eval()
    x = clips(name, 1, 12)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)


@every_network
def test_hyperparameters_are_what_a_model_card_can_store(name: str) -> None:
    assert "width" in hyperparameters_of(name) or name == "clip_descriptor"  # which has no layers
    assert all(isinstance(value, str | int | float | bool) for value in different(name).hyper.values())
