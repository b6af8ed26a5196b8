from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kineflow.models.cross_modality import across_modality, initialise_across_modality
from kineflow.models.network import ImageNetwork, Network
from kineflow.models.registry import create_backbone, create_model, hyperparameters_of, list_backbones, list_models
from kineflow.storage.errors import KineflowError

pytestmark = pytest.mark.slow

# They see a frame and its flow at once, each by a stream of its own: the rule is for the streams.
TWO_STREAMS = ("motion_alstm", "st_resnet", "videolstm")
RGB_ALONE = ("learnt_flow",)
WITHOUT_WEIGHTS = ("clip_descriptor",)
OF_A_CONFIGURATION = ("transformers",)  # test_transformers_network.py has their stems
OTHERS = {*TWO_STREAMS, *RGB_ALONE, *WITHOUT_WEIGHTS, *OF_A_CONFIGURATION}
ONE_STREAM = sorted({*list_models(), *list_backbones()} - OTHERS)


def build(name: str, in_channels: int, *, seed: int, num_classes: int = 0, width: float = 0.125) -> Network:
    torch.manual_seed(seed)
    create = create_backbone if name in list_backbones() else create_model
    few = {"hidden": 8, "head_width": 8} if "hidden" in hyperparameters_of(name) else {}
    return create(name, num_classes=num_classes, in_channels=in_channels, width=width, **few)


@given(before=st.integers(1, 6), after=st.integers(1, 15), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_each_channel_holds_the_mean_of_the_source(before: int, after: int, seed: int) -> None:
    kernel = torch.randn(4, before, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
    state = {"a.weight": kernel, "a.bias": torch.arange(4.0), "b.weight": torch.ones(2)}
    new = across_modality(state, stem_name="a", in_channels=after)
    assert new["a.weight"].shape == (4, after, 1, 3, 3)
    for channel in range(after):
        torch.testing.assert_close(new["a.weight"][:, channel], kernel.mean(dim=1))
    assert torch.equal(new["a.bias"], state["a.bias"])
    assert torch.equal(new["b.weight"], state["b.weight"])


def test_a_kernel_by_hand() -> None:
    kernel = torch.tensor([[[1.0, 2.0]], [[5.0, 4.0]], [[0.0, 0.0]]]).permute(1, 0, 2)[None]  # [1,1,3,2] → one output
    state = {"stem.weight": kernel.reshape(1, 3, 2)}
    new = across_modality(state, stem_name="stem", in_channels=2)
    assert new["stem.weight"].tolist() == [[[2.0, 2.0], [2.0, 2.0]]]


@pytest.mark.parametrize("name", ONE_STREAM)
@pytest.mark.parametrize("channels", [2, 10, 20])
def test_a_flow_network_takes_over_all_but_the_stem(name: str, channels: int) -> None:
    source, target = build(name, 3, seed=0), build(name, channels, seed=1)
    initialise_across_modality(target, source)
    stem = f"{source.stem_name}.weight"
    old, new = source.state_dict(), target.state_dict()
    assert all(torch.equal(old[key], new[key]) for key in old if key != stem)
    torch.testing.assert_close(new[stem].mean(dim=1), old[stem].mean(dim=1))
    assert torch.equal(new[stem], new[stem][:, :1].expand_as(new[stem]))


@pytest.mark.parametrize("name", ONE_STREAM)
def test_a_grey_input_gets_two_thirds_of_the_stem_response(name: str) -> None:
    source, target = build(name, 3, seed=0), build(name, 2, seed=1)
    initialise_across_modality(target, source)
    size = (32,) * (source.stem.weight.ndim - 2)
    grey = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        from_rgb = source.stem(grey.repeat_interleave(3, dim=1))
        from_flow = target.stem(grey.repeat_interleave(2, dim=1))
        bias = source.stem(torch.zeros(1, 3, *size))
    torch.testing.assert_close(from_flow - bias, (from_rgb - bias) * 2 / 3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_of_two_streams_that_of_flow_takes_over_the_other(name: str) -> None:
    network = build(name, 5, seed=0)
    if name == "motion_alstm":  # its motion stream gives a vector, and has the layers for that
        network.set_submodule("appearance", create_backbone("vgg16", width=0.125))
    appearance, motion = (network.get_submodule(stream) for stream in ("appearance", "motion"))
    assert isinstance(appearance, ImageNetwork)
    assert isinstance(motion, ImageNetwork)
    initialise_across_modality(motion, appearance)
    old, new = appearance.state_dict(), motion.state_dict()
    stem = f"{appearance.stem_name}.weight"
    assert all(torch.equal(old[key], new[key]) for key in old if key != stem)
    mean = old[stem].mean(dim=1, keepdim=True)
    torch.testing.assert_close(new[stem], mean.expand(-1, 2, -1, -1))


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_two_streams_at_once_are_refused(name: str) -> None:
    with pytest.raises(KineflowError, match=r"of another shape(.|\n)*motion\."):
        initialise_across_modality(build(name, 7, seed=1), build(name, 5, seed=0))


def test_the_source_stays_as_it_is_when_the_target_learns() -> None:
    source, target = build("s3d", 3, seed=0), build("s3d", 2, seed=1)
    initialise_across_modality(target, source)
    before = {key: value.clone() for key, value in source.state_dict().items()}
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[key], value) for key, value in source.state_dict().items())


def test_networks_that_differ_otherwise_are_refused() -> None:
    with pytest.raises(KineflowError, match="of another shape"):
        initialise_across_modality(build("s3d", 2, seed=0, width=0.25), build("s3d", 3, seed=0))
    with pytest.raises(KineflowError, match=r"missing \(37\)"):
        initialise_across_modality(build("s3d_g", 2, seed=0), build("s3d", 3, seed=0))
