"""The step ``merge_flow``: one flow set from those of all shards."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from components.frontend.command import command
from components.merge_flow import merge_flow
from kineflow.flow.extraction.shards import clips_of, described
from kineflow.sets.clip_set import Clip
from kineflow.sets.flow_file import read_flow, write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.shard import Shard
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError

CLIPS = [
    Clip(f"walk/{n}", f"{n}.mp4", "x", "g", Split.TRAIN, 3 + n, 25.0, 16, 16, 0, "", Status.OK, "", "")
    for n in range(5)
]


def save_shards(folder: Path, count: int, media_root: Path | None = None) -> list[Path]:
    for index in range(count):
        shard, media = Shard(index, count), media_root or folder / f"{index}" / "media"
        entries = {}
        for clip in clips_of(shard, CLIPS):
            levels = np.full((clip.frames - 1, 16, 16, 2), 10 * clip.frames, np.uint8)
            write_flow(media / f"{clip.clip_id}.mp4", levels, crf=0)
            entries[clip.clip_id] = FlowEntry(
                clip.clip_id, f"{clip.clip_id}.mp4", clip.frames - 1, 16, 16, Status.OK, ""
            )
        FlowSet(20.0, entries, str(media), described(shard, CLIPS)).save(folder / f"{index}")
    return [folder / f"{index}" for index in reversed(range(count))]


@pytest.mark.parametrize("count", [2, 3])
def test_the_merged_set_stands_on_its_own(tmp_path: Path, count: int) -> None:
    shards = save_shards(tmp_path / "shards", count)
    result = merge_flow(shards=shards, flow=tmp_path / "flow")
    assert result.metrics == {"clips": 5, "failed": 0, "pairs": 2 + 3 + 4 + 5 + 6}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow", "shards"]
    shutil.rmtree(tmp_path / "shards")
    flow = FlowSet.load(tmp_path / "flow")
    assert flow.usable_ids() == {clip.clip_id for clip in CLIPS}
    assert "shard" not in flow.params
    for clip in CLIPS:
        assert (read_flow(flow.locate(clip.clip_id)) == 10 * clip.frames).all()


def test_media_that_lie_elsewhere_stay_there(tmp_path: Path) -> None:
    shards = save_shards(tmp_path / "shards", 2, media_root=tmp_path / "volume")
    merge_flow(shards=shards, flow=tmp_path / "flow")
    assert sorted(path.name for path in (tmp_path / "flow").iterdir()) == ["flow.parquet", "flowset.json"]
    assert FlowSet.load(tmp_path / "flow").locate("walk/0") == tmp_path / "volume" / "walk" / "0.mp4"


def test_a_missing_shard_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = save_shards(tmp_path / "shards", 3)
    del shards[1]
    with pytest.raises(SystemExit) as ended:
        command(merge_flow, ["--shards", *map(str, shards), "--flow", str(tmp_path / "flow")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: shard 1/3 is missing")
    assert not (tmp_path / "flow").exists()


def test_no_good_clip_in_any_shard(tmp_path: Path) -> None:
    for index in range(2):
        shard = Shard(index, 2)
        entries = {
            c.clip_id: FlowEntry(c.clip_id, "", 0, 16, 16, Status.UNREADABLE, "bad") for c in clips_of(shard, CLIPS)
        }
        FlowSet(20.0, entries, str(tmp_path), described(shard, CLIPS)).save(tmp_path / "shards" / f"{index}")
    with pytest.raises(KineflowError, match="no clip has flow"):
        merge_flow(shards=[tmp_path / "shards" / name for name in ("0", "1")], flow=tmp_path / "flow")


def test_shards_of_a_part_without_clips_are_an_empty_set(tmp_path: Path) -> None:
    """As of a part of a source whose videos are all broken: the other parts have clips."""
    for index in range(2):
        FlowSet(20.0, {}, str(tmp_path), described(Shard(index, 2), [])).save(tmp_path / "shards" / f"{index}")
    merge_flow(shards=[tmp_path / "shards" / name for name in ("0", "1")], flow=tmp_path / "flow")
    assert FlowSet.load(tmp_path / "flow").entries == {}
