"""Shards of a clip set: who does which clip, and how the results are joined."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.flow.extraction.shards import clips_of, described, merge_shards
from kineflow.sets.clip_set import Clip
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.shard import Shard
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError


def clip(number: int, frames: int = 10, width: int = 8, height: int = 8) -> Clip:
    name = f"clip-{number}"
    return Clip(name, f"{name}.mp4", "x", name, Split.TRAIN, frames, 25.0, width, height, 0, "", Status.OK, "", "")


def work(clips: Sequence[Clip]) -> int:
    return sum(clip.frames * clip.width * clip.height for clip in clips)


Clips = st.lists(st.tuples(st.integers(1, 300), st.sampled_from([8, 16, 340]))).map(
    lambda shapes: [clip(n, frames, width) for n, (frames, width) in enumerate(shapes)]
)


@given(Clips, st.integers(1, 9), st.randoms(use_true_random=False))
def test_each_clip_is_in_one_shard_whatever_the_order(clips: list[Clip], count: int, rng: random.Random) -> None:
    shards = [clips_of(Shard(index, count), clips) for index in range(count)]
    assert sorted(c.clip_id for shard in shards for c in shard) == sorted(c.clip_id for c in clips)
    shuffled = rng.sample(clips, len(clips))
    assert [clips_of(Shard(index, count), shuffled) for index in range(count)] == shards


@given(Clips, st.integers(1, 9))
def test_no_two_shards_differ_by_more_than_the_longest_clip(clips: list[Clip], count: int) -> None:
    loads = [work(clips_of(Shard(index, count), clips)) for index in range(count)]
    assert max(loads) - min(loads) <= max((work([c]) for c in clips), default=0)


def test_few_long_clips_are_balanced_by_many_short_ones() -> None:
    clips = [clip(0, 900), *(clip(n, 100) for n in range(1, 10))]
    assert [len(clips_of(Shard(index, 2), clips)) for index in range(2)] == [1, 9]


@pytest.mark.parametrize(("text", "shard"), [("0/1", Shard(0, 1)), ("3/4", Shard(3, 4))])
def test_it_is_read_as_it_is_written(text: str, shard: Shard) -> None:
    assert Shard.parse(text) == shard
    assert str(shard) == text


@pytest.mark.parametrize(
    "text", ["", "3", "3/3", "4/3", "0/0", "-1/2", "1/-2", "a/b", "1/2/3", " 1/2", "1.0/2", "1/2\n"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(KineflowError, match="shard") as caught:
        Shard.parse(text)
    assert "0/4" in str(caught.value)


CLIPS = [clip(n, frames=2 + n) for n in range(7)]


def save_shard(folder: Path, index: int, count: int, media_root: Path | None = None, **changes: object) -> Path:
    shard = Shard(index, count)
    entries = {
        c.clip_id: FlowEntry(c.clip_id, f"{c.clip_id}.mp4", c.frames - 1, 8, 8, Status.OK, "")
        for c in clips_of(shard, CLIPS)
    }
    flow = FlowSet(20.0, entries, str(media_root or folder / "media"), {"warps": 5, **described(shard, CLIPS)})
    dataclasses.replace(flow, **changes).save(folder)
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [save_shard(tmp_path / f"{index}", index, 3) for index in range(3)]


def test_shards_with_media_of_their_own(shards: list[Path], tmp_path: Path) -> None:
    merged = merge_shards(shards)
    assert set(merged.entries) == {c.clip_id for c in CLIPS}
    assert (merged.bound_px, merged.params) == (20.0, {"warps": 5})
    for index in range(3):
        for c in clips_of(Shard(index, 3), CLIPS):
            (tmp_path / f"{index}" / "media").mkdir(exist_ok=True)
            (tmp_path / f"{index}" / "media" / f"{c.clip_id}.mp4").touch()
            assert merged.locate(c.clip_id) == tmp_path / f"{index}" / "media" / f"{c.clip_id}.mp4"
    assert merge_shards(shards[::-1]) == merged


def test_shards_with_one_media_root(tmp_path: Path) -> None:
    folders = [save_shard(tmp_path / f"{index}", index, 3, tmp_path / "volume") for index in range(3)]
    merged = merge_shards(folders)
    assert merged.media_root == str(tmp_path / "volume")
    assert merged.entries["clip-0"].path == "clip-0.mp4"


def test_a_failed_clip_stays_listed(shards: list[Path]) -> None:
    flow = FlowSet.load(shards[0])
    bad = min(flow.entries)
    failed = FlowEntry(bad, "", 0, 8, 8, Status.UNREADABLE, "broken")
    dataclasses.replace(flow, entries={**flow.entries, bad: failed}).save(shards[0])
    assert merge_shards(shards).entries[bad] == failed


def test_a_shard_may_be_empty(tmp_path: Path) -> None:
    folders = [save_shard(tmp_path / f"{index}", index, 9) for index in range(9)]
    assert len(merge_shards(folders).entries) == len(CLIPS)


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="no shards"):
        merge_shards([])


def test_a_missing_shard(shards: list[Path]) -> None:
    with pytest.raises(KineflowError, match="shard 1/3 is missing"):
        merge_shards([shards[0], shards[2]])


def test_a_shard_twice(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="shard 2/3 is there twice"):
        merge_shards([*shards, save_shard(tmp_path / "again", 2, 3)])


def test_a_whole_flow_set_is_no_shard(shards: list[Path], tmp_path: Path) -> None:
    whole = save_shard(tmp_path / "whole", 0, 1)
    with pytest.raises(KineflowError, match="no shard of one"):
        merge_shards([*shards, whole])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bound_px": 5.0}, "bound_px is 5.0"),
        ({"params": {"warps": 9, **described(Shard(1, 3), CLIPS)}}, "warps is 9"),
        ({"params": {"warps": 5, **described(Shard(1, 4), CLIPS)}}, "shards is 4"),
        ({"params": {"warps": 5, **described(Shard(1, 3), CLIPS[1:])}}, "clip set is"),
    ],
    ids=["bound", "params", "count", "clips"],
)
def test_shards_of_something_else(shards: list[Path], changes: dict[str, object], message: str) -> None:
    save_shard(shards[1], 1, 3, **changes)
    with pytest.raises(KineflowError, match=message):
        merge_shards(shards)


def test_a_clip_in_two_shards(shards: list[Path]) -> None:
    flows = [FlowSet.load(folder) for folder in shards]
    dataclasses.replace(flows[0], entries={**flows[0].entries, **flows[1].entries}).save(shards[0])
    with pytest.raises(KineflowError, match="in two shards"):
        merge_shards(shards)
