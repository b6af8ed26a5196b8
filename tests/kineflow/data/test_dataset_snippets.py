"""TSN's samples: clips whose brightness is 16 + t² + 4 x, so that a value says when and where, and its change when."""

import numpy as np
import pytest
import torch

from kineflow.data.batch_sampler import SampleRef
from kineflow.data.crops import Jitter
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.data.segments import middle_snippets, random_snippets
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video

FRAMES, SIDE = 13, 16
TOLERANCE = 3  # of the codec


def pattern(frames: int) -> np.ndarray:
    t, _, x = np.mgrid[:frames, :SIDE, :SIDE]
    return (16 + t * t + 4 * x).astype(np.uint8)


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> tuple[ClipSet, FlowSet]:
    rgb, flow = (tmp_path_factory.mktemp(name) for name in ("rgb", "flow"))
    clips, entries = [], {}
    for name, frames in (("whole", FRAMES), ("short", 3)):
        write_video(rgb / f"{name}.mp4", np.repeat(pattern(frames)[..., None], 3, axis=-1), fps=25, crf=0)
        levels = np.stack([pattern(frames - 1), np.full((frames - 1, SIDE, SIDE), 77, np.uint8)], axis=-1)
        write_flow(flow / f"{name}.mp4", levels, crf=0)
        entries[name] = FlowEntry(name, f"{name}.mp4", frames - 1, SIDE, SIDE, Status.OK, "")
        clip = Clip(
            clip_id=name, path=f"{name}.mp4", label="wave", group=name, split=Split.TRAIN, frames=frames, fps=25.0,
            width=SIDE, height=SIDE, rotation=0, sha256=name, status=Status.OK, reason="", source=name,
        )  # fmt: skip
        clips.append(clip)
    return ClipSet(("wave",), tuple(clips), str(rgb)), FlowSet(20.0, entries, str(flow))


def dataset(sets, modality: str, *, length: int, jitter: Jitter | None = None, crop: int = SIDE, **changes):
    clip_set, flow_set = sets
    geometry = Geometry(ClipSpec(length), short_side=SIDE, crop=crop, segments=3, jitter=jitter)
    given = {"modalities": (modality,), "geometry": geometry, "flow_set": flow_set} | changes
    return ClipDataset(clip_set, clip_set.clips, **given)


def time_steps(values: torch.Tensor) -> list[int]:
    """Of samples of brightness [C, T, S, S]: t of each time step."""
    return np.sqrt(np.maximum(values[0, :, :, 0].float().mean(dim=1).numpy() - 16, 0)).round().astype(int).tolist()


@pytest.mark.parametrize(("modality", "length"), [("rgb", 1), ("flow", 5), ("warped_flow", 5)])
def test_validation_sees_the_middle_of_each_segment(sets, modality, length):
    sample = dataset(sets, modality, length=length)[0]
    expected = middle_snippets(FRAMES - 1, ClipSpec(length), 3).reshape(-1)
    np.testing.assert_allclose(time_steps(sample[modality]), expected, atol=1)
    assert sample[modality].shape == (2 if "flow" in modality else 3, 3 * length, SIDE, SIDE)


def test_training_sees_what_its_seed_says(sets):
    sample = dataset(sets, "flow", length=5)[SampleRef(0, (4, 2))]
    expected = random_snippets(FRAMES - 1, ClipSpec(5), 3, np.random.default_rng((4, 2))).reshape(-1)
    np.testing.assert_allclose(time_steps(sample["flow"]), expected, atol=1)


def test_differences_are_of_successive_frames(sets):
    sample = dataset(sets, "rgb_difference", length=5)[0]["rgb_difference"]
    assert sample.dtype == torch.int16
    t = middle_snippets(FRAMES - 1, ClipSpec(5), 3).reshape(-1)
    expected = torch.from_numpy(2 * t + 1)  # (t + 1)² − t²
    assert (sample - expected.view(1, -1, 1, 1)).abs().max() <= 2 * TOLERANCE


def test_differences_are_of_one_crop(sets):
    """With a crop of its own for each frame, 4 x would not cancel."""
    for seed in range(10):
        jitter = Jitter((1, 0.75, 0.5))
        data = dataset(sets, "rgb_difference", length=5, jitter=jitter, crop=8, may_flip=True)
        sample = data[SampleRef(0, (seed,))]["rgb_difference"]
        assert sample.shape == (3, 15, 8, 8)
        assert (sample.amax(dim=(2, 3)) - sample.amin(dim=(2, 3))).max() <= 2 * TOLERANCE


def test_a_mirrored_clip_of_flow_has_u_turned_round(sets):
    data = dataset(sets, "warped_flow", length=5, may_flip=True)
    samples = [data[SampleRef(0, (seed,))]["warped_flow"] for seed in range(20)]
    rising = [bool(sample[0, 0, 0, -1].int() > sample[0, 0, 0, 0].int()) for sample in samples]
    assert all(rising)  # 255 − (16 + t² + 4 x), mirrored, rises to the right again
    highest = {int(sample[0].max()) > 150 for sample in samples}
    assert highest == {True, False}
    assert all((sample[1].int() - 77).abs().max() <= TOLERANCE for sample in samples)


@pytest.mark.parametrize(("modality", "length"), [("rgb", 1), ("rgb_difference", 5), ("flow", 5)])
def test_a_clip_shorter_than_its_snippets_repeats(sets, modality, length):
    data = dataset(sets, modality, length=length)
    for key in (1, SampleRef(1, (0,))):
        assert data[key][modality].shape[1] == 3 * length


def test_warped_flow_without_a_flow_set_is_an_error(sets):
    with pytest.raises(KineflowError, match="needs a flow set"):
        dataset(sets, "warped_flow", length=5, flow_set=None)
