"""Clips whose pixels say when and where they are: brightness 16 + 8 t + 4 x in RGB, and the same level in u."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from kineflow.data.batch_sampler import SampleRef
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video

FRAMES, HEIGHT, WIDTH = 12, 16, 24
TOLERANCE = 3  # of the codec
WHOLE_HEIGHT = Geometry(ClipSpec(4), short_side=HEIGHT, crop=8)


def pattern(frames: int, height: int, width: int) -> np.ndarray:
    t, _, x = np.mgrid[:frames, :height, :width]
    return (16 + 8 * t + 4 * x).astype(np.uint8)


def write_clip(folder: Path, clip_id: str, **changes) -> Clip:
    write_video(
        folder / f"{clip_id}.mp4", np.repeat(pattern(FRAMES, HEIGHT, WIDTH)[..., None], 3, axis=-1), fps=25, crf=0
    )
    clip = Clip(
        clip_id=clip_id, path=f"{clip_id}.mp4", label="wave", group=clip_id, split=Split.TRAIN, frames=FRAMES, fps=25.0,
        width=WIDTH, height=HEIGHT, rotation=0, sha256=clip_id, status=Status.OK, reason="", source=clip_id,
    )  # fmt: skip
    return dataclasses.replace(clip, **changes)


def write_fields(folder: Path, clip_id: str, *, height: int = HEIGHT, width: int = WIDTH) -> FlowEntry:
    levels = np.stack([pattern(FRAMES - 1, height, width), np.full((FRAMES - 1, height, width), 77, np.uint8)], axis=-1)
    write_flow(folder / f"{clip_id}.mp4", levels, crf=0)
    return FlowEntry(clip_id, f"{clip_id}.mp4", FRAMES - 1, width, height, Status.OK, "")


@pytest.fixture
def clip_set(tmp_path) -> ClipSet:
    clips = (write_clip(tmp_path / "rgb", "a"), write_clip(tmp_path / "rgb", "b", label=None, split=Split.UNLABELLED))
    return ClipSet(("jump", "wave"), clips, str(tmp_path / "rgb"))


@pytest.fixture
def flow_set(tmp_path) -> FlowSet:
    return FlowSet(20.0, {name: write_fields(tmp_path / "flow", name) for name in "ab"}, str(tmp_path / "flow"))


def dataset(clip_set: ClipSet, flow_set: FlowSet | None = None, *, geometry: Geometry = WHOLE_HEIGHT, **changes):
    modalities = ("rgb", "flow") if flow_set else ("rgb",)
    given = {"modalities": modalities, "geometry": geometry, "flow_set": flow_set} | changes
    return ClipDataset(clip_set, clip_set.clips, **given)


class TestCentre:
    def test_the_middle_of_time_and_space(self, clip_set, flow_set):
        sample = dataset(clip_set, flow_set)[0]
        assert sample["rgb"].shape == (3, 4, 8, 8)
        assert sample["flow"].shape == (2, 4, 8, 8)
        assert sample["rgb"].dtype == sample["flow"].dtype == torch.uint8
        # Eleven fields: windows of four start at 0 to 7, the middle one at 3; columns 8 to 15 of 24.
        expected = pattern(FRAMES, HEIGHT, WIDTH)[3:7, 4:12, 8:16]
        for seen in (sample["rgb"][0], sample["rgb"][2], sample["flow"][0]):
            assert np.abs(seen.numpy().astype(int) - expected).max() <= TOLERANCE
        assert (sample["flow"][1].int() - 77).abs().max() <= TOLERANCE

    def test_rgb_alone_sees_the_window_that_flow_sees(self, clip_set, flow_set):
        alone, together = dataset(clip_set)[0], dataset(clip_set, flow_set)[0]
        assert torch.equal(alone["rgb"], together["rgb"])
        assert "flow" not in alone

    def test_stride(self, clip_set):
        sample = dataset(clip_set, geometry=Geometry(ClipSpec(4, stride_frames=2), HEIGHT, 8))[0]
        steps = sample["rgb"][0].float().mean(dim=(1, 2)).diff()
        assert steps.tolist() == pytest.approx([16] * 3, abs=1)

    def test_frames_are_resized(self, clip_set):
        sample = dataset(clip_set, geometry=Geometry(ClipSpec(1), short_side=8, crop=8))[0]
        columns = sample["rgb"][0, 0].float().mean(dim=0)
        assert columns.diff().tolist() == pytest.approx([8] * 7, abs=2)  # twice as far from pixel to pixel


class TestDraws:
    def samples(self, count: int = 24) -> list[SampleRef]:
        return [SampleRef(number % 2, (3, 0, number)) for number in range(count)]

    def test_rgb_and_flow_share_window_view_and_flip(self, clip_set, flow_set):
        clips, flips = dataset(clip_set, flow_set, may_flip=True), []
        for sample in self.samples():
            sample = clips[sample]
            brightness, u = sample["rgb"][0].int(), sample["flow"][0].int()
            flips.append(bool(brightness[0, 0, 0] > brightness[0, 0, -1]))
            assert (brightness - (255 - u if flips[-1] else u)).abs().max() <= 2 * TOLERANCE
        assert set(flips) == {False, True}

    def test_windows_and_views_vary(self, clip_set):
        clips = dataset(clip_set)
        corners = {int(clips[sample]["rgb"][0, 0, 0, 0]) for sample in self.samples()}
        assert len(corners) > 10

    def test_nothing_is_mirrored_unless_it_may_be(self, clip_set):
        clips = dataset(clip_set)
        assert all((clips[sample]["rgb"][0, 0, 0].int().diff() > 0).all() for sample in self.samples())

    def test_a_reference_gives_the_same_sample_always(self, clip_set, flow_set):
        first, second = (dataset(clip_set, flow_set, may_flip=True) for _ in range(2))
        for sample in reversed(self.samples(8)):
            assert torch.equal(first[sample]["rgb"], first[sample]["rgb"])
            assert torch.equal(first[sample]["flow"], second[sample]["flow"])

    def test_the_last_frame_has_no_field_and_is_never_seen(self, clip_set):
        clips = dataset(clip_set, geometry=Geometry(ClipSpec(FRAMES - 1), HEIGHT, 8))
        times = {
            int(clips[sample]["rgb"][0, -1].min()) - int(clips[sample]["rgb"][0, 0].min()) for sample in self.samples(6)
        }
        assert max(times) <= 8 * (FRAMES - 2) + TOLERANCE

    def test_flow_stored_smaller_than_the_clip(self, clip_set, flow_set, tmp_path):
        """At a short side of 15 px the clip is 22 px wide and its flow 21: the view must lie in both."""
        small = {name: write_fields(tmp_path / "small", name, height=10, width=14) for name in "ab"}
        flow_set = dataclasses.replace(flow_set, entries=small, media_root=str(tmp_path / "small"))
        clips = dataset(clip_set, flow_set, geometry=Geometry(ClipSpec(2), short_side=15, crop=15))
        for sample in self.samples(40):
            assert clips[sample]["flow"].shape == (2, 2, 15, 15)
            assert clips[sample]["rgb"].shape == (3, 2, 15, 15)


class TestLabels:
    def test_index_of_the_class_or_minus_one(self, clip_set):
        clips = dataset(clip_set)
        assert [int(clips[number]["label"]) for number in range(2)] == [1, -1]
        assert int(clips[SampleRef(1, (0,))]["label"]) == -1

    def test_samples_collate(self, clip_set, flow_set):
        (batch,) = DataLoader(dataset(clip_set, flow_set), batch_size=2)
        assert batch["label"].tolist() == [1, -1]
        assert batch["label"].dtype == torch.int64
        assert batch["rgb"].shape == (2, 3, 4, 8, 8)
        assert batch["flow"].shape == (2, 2, 4, 8, 8)


class TestCache:
    def remove_videos(self, clip_set: ClipSet) -> None:
        for video in Path(clip_set.media_root).glob("*.mp4"):
            video.unlink()

    def test_gives_the_same_samples(self, clip_set, flow_set):
        plain = dataset(clip_set, flow_set, may_flip=True)
        cached = dataset(clip_set, flow_set, may_flip=True, cache_bytes=1 << 20)
        for key in [0, 1, *(SampleRef(number % 2, (number,)) for number in range(6))] * 2:
            for modality in ("rgb", "flow"):
                assert torch.equal(plain[key][modality], cached[key][modality])

    def test_decodes_a_clip_once(self, clip_set):
        cached = dataset(clip_set, cache_bytes=1 << 20)
        first = cached[0]["rgb"]
        self.remove_videos(clip_set)
        assert torch.equal(cached[0]["rgb"], first)
        assert cached[SampleRef(0, (1,))]["rgb"].shape == first.shape

    def test_a_sample_that_is_changed_leaves_the_cache_alone(self, clip_set):
        cached = dataset(clip_set, cache_bytes=1 << 20)
        first = cached[0]["rgb"].clone()
        cached[0]["rgb"].zero_()
        assert torch.equal(cached[0]["rgb"], first)

    def test_keeps_within_its_budget(self, clip_set):
        one_clip = FRAMES * HEIGHT * WIDTH * 3
        cached = dataset(clip_set, cache_bytes=2 * one_clip - 1)
        for number in (0, 1):
            cached[number]
        self.remove_videos(clip_set)
        cached[0]
        with pytest.raises(KineflowError):
            cached[1]


class TestMissingFlow:
    def test_no_flow_set(self, clip_set):
        with pytest.raises(KineflowError, match="needs a flow set") as caught:
            dataset(clip_set, modalities=("flow",))
        assert "extract_flow" in caught.value.remedy

    @pytest.mark.parametrize("status", [None, Status.SHORT, Status.UNREADABLE])
    def test_clips_without_flow_are_named(self, clip_set, flow_set, status):
        entries = dict(flow_set.entries)
        if status:
            entries["b"] = dataclasses.replace(entries["b"], status=status)
        else:
            del entries["b"]
        with pytest.raises(KineflowError, match="no flow for 1 clips, the first of them b"):
            dataset(clip_set, dataclasses.replace(flow_set, entries=entries))


def test_a_crop_that_does_not_fit_says_so(clip_set):
    with pytest.raises(KineflowError, match="crop of 20 px"):
        dataset(clip_set, geometry=Geometry(ClipSpec(1), short_side=HEIGHT, crop=20))[0]


def test_length_is_the_count_of_clips(clip_set):
    assert len(dataset(clip_set)) == 2


class TestFramesWithFlow:
    def stacked(self, clip_set, flow_set, **geometry):
        seen = Geometry(ClipSpec(3), HEIGHT, 8, flow_frames=2, **geometry)
        return dataset(clip_set, flow_set, geometry=seen, modalities=("rgb_flow",), may_flip=True)

    def test_a_frame_and_the_fields_around_it(self, clip_set, flow_set):
        sample = self.stacked(clip_set, flow_set)[0]["rgb_flow"]
        assert sample.shape == (7, 3, 8, 8)
        assert sample.dtype == torch.uint8
        before, at = sample[3].int(), sample[5].int()  # u of the field before the moment, and of its own
        assert (at - sample[0].int()).abs().max() <= 2 * TOLERANCE
        assert (at - before - 8).abs().max() <= 2 * TOLERANCE
        assert (sample[[4, 6]].int() - 77).abs().max() <= TOLERANCE

    def test_it_is_mirrored_as_a_whole(self, clip_set, flow_set):
        clips, flips = self.stacked(clip_set, flow_set), set()
        for number in range(12):
            sample = clips[SampleRef(0, (3, 0, number))]["rgb_flow"].int()
            flips.add(flip := bool(sample[0, 0, 0, 0] > sample[0, 0, 0, -1]))
            assert (sample[0] - (255 - sample[5] if flip else sample[5])).abs().max() <= 2 * TOLERANCE
        assert flips == {False, True}

    def test_squashed_it_is_whole_though_flow_is_smaller(self, clip_set, tmp_path):
        entries = {name: write_fields(tmp_path / "small", name, height=8, width=12) for name in "ab"}
        small = FlowSet(20.0, entries, str(tmp_path / "small"))
        sample = self.stacked(clip_set, small, fit="squash")[0]["rgb_flow"]
        assert sample.shape == (7, 3, 8, 8)
        for channel, span in ((0, 4 * (WIDTH - 3)), (5, 4 * 10.5)):  # brightness from the first column to the last
            row = sample[channel, 0, 4].int()
            assert int(row[-1] - row[0]) == pytest.approx(span, abs=8)


def test_strides_of_random_windows_are_drawn_from_a_range(clip_set):
    geometry = Geometry(ClipSpec(3, stride_frames=1), HEIGHT, 8, stride_frames_max=4)
    clips = dataset(clip_set, geometry=geometry)
    strides = {round(float(clips[SampleRef(0, (number,))]["rgb"][0].float().mean(dim=(1, 2)).diff()[0]) / 8)
               for number in range(40)}  # fmt: skip
    assert strides == {1, 2, 3, 4}
    assert clips[0]["rgb"][0].float().mean(dim=(1, 2)).diff().tolist() == pytest.approx([8, 8], abs=1)
