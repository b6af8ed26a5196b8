from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kineflow.data.transforms import View, apply_view, to_tensor
from kineflow.models.st_resnet import StreamScores
from kineflow.training import two_stream
from kineflow.training.two_stream import Phase, join_streams, stack_moments, two_stream_loss


def scores(clips: int, steps: int, classes: int, seed: int = 0) -> StreamScores:
    generator = torch.Generator().manual_seed(seed)
    return StreamScores(*(torch.randn(clips, steps, classes, generator=generator) for _ in range(2)))


@given(clips=st.integers(1, 4), steps=st.integers(1, 6), classes=st.integers(2, 5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_the_loss_adds_streams_and_steps_and_averages_clips(clips: int, steps: int, classes: int, seed: int) -> None:
    answers = scores(clips, steps, classes, seed)
    labels = torch.arange(clips) % classes
    expected = 0.0
    for stream in answers:
        for clip, label in enumerate(labels.tolist()):
            for step in range(steps):
                expected -= stream[clip, step].softmax(dim=0)[label].log().item() / clips
    assert two_stream_loss(answers, labels).item() == pytest.approx(expected, rel=1e-4)


def test_clips_without_a_label_add_nothing() -> None:
    answers = scores(3, 4, 5)
    labels = torch.tensor([2, -1, 0])
    labelled = StreamScores(*(stream[[0, 2]] for stream in answers))
    torch.testing.assert_close(two_stream_loss(answers, labels), two_stream_loss(labelled, labels[[0, 2]]))
    assert two_stream_loss(answers, torch.full((3,), -1)).item() == 0


def test_each_stream_learns_from_its_own_answers() -> None:
    answers = StreamScores(*(stream.requires_grad_() for stream in scores(2, 3, 4)))
    two_stream_loss(answers, torch.tensor([1, 3])).backward()
    for stream in answers:
        assert stream.grad is not None
        expected = (stream.softmax(dim=2) - torch.nn.functional.one_hot(torch.tensor([1, 3]), 4)[:, None]) / 2
        torch.testing.assert_close(stream.grad, expected.detach())


def test_looks_at_each_video_are_epochs_times_their_factor() -> None:
    """The authors' epochs look too few when the factor is forgotten."""
    looks = {
        name: getattr(two_stream, name).looks
        for name in ("APPEARANCE", "APPEARANCE_HMDB51", "MOTION", "ST_RESNET", "ST_RESNET_STAR")
    }
    assert looks == {"APPEARANCE": 60, "APPEARANCE_HMDB51": 40, "MOTION": 400, "ST_RESNET": 80, "ST_RESNET_STAR": 2}


@pytest.mark.parametrize("phase", [two_stream.ST_RESNET, two_stream.ST_RESNET_STAR])
def test_joined_networks_normalise_over_four_clips(phase: Phase) -> None:
    assert phase.clips_per_norm == 4


def test_a_stack_has_ten_fields_around_its_frame() -> None:
    assert stack_moments(np.array([7, 20]), n_fields=30).tolist() == [*range(2, 12), *range(15, 25)]


def test_stacks_at_the_ends_of_a_clip_repeat_its_first_and_last_field() -> None:
    assert stack_moments(np.array([1, 8]), n_fields=9).tolist() == [
        0,
        0,
        0,
        0,
        0,
        1,
        2,
        3,
        4,
        5,
        3,
        4,
        5,
        6,
        7,
        8,
        8,
        8,
        8,
        8,
    ]
    assert stack_moments(np.array([0]), n_fields=1).tolist() == [0] * 10


def test_a_joined_clip_has_the_frame_and_then_u_and_v_of_each_field_in_turn() -> None:
    steps, fields = 3, 4
    frames = torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(2, 3, steps, 5, 6)
    number = torch.arange(1.0, steps * fields + 1)
    levels = torch.stack((number, -number))[None, :, :, None, None].expand(2, 2, steps * fields, 5, 6)
    clip = join_streams(frames, levels)
    assert clip.shape == (2, 3 + 2 * fields, steps, 5, 6)
    assert clip[1, :, 0, 2, 3].tolist() == [0, 1, 2, 1, -1, 2, -2, 3, -3, 4, -4]
    assert clip[1, :, 2, 4, 5].tolist() == [0, 1, 2, 9, -9, 10, -10, 11, -11, 12, -12]


def test_a_mirrored_clip_turns_u_round_in_every_field_of_a_stack() -> None:
    rng = np.random.default_rng(0)
    rgb, flow = (
        rng.integers(256, size=(count, 8, 8, channels), dtype=np.uint8) for count, channels in ((2, 3), (20, 2))
    )

    def seen(flip: bool) -> torch.Tensor:
        view = View(0, 0, 8, flip=flip)
        frames, fields = to_tensor(apply_view(rgb, view)), to_tensor(apply_view(flow, view, is_flow=True))
        return join_streams(frames[None].float(), fields[None].float())[0]

    expected = seen(flip=False).flip(3)
    expected[3::2] = 255 - expected[3::2]
    assert torch.equal(seen(flip=True), expected)
