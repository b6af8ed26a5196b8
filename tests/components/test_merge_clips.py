"""The step ``merge_clips``, and shards of ingest: together they are what one ingest makes of the whole source."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from components.extract_flow import extract_flow
from components.frontend.command import command
from components.ingest import ingest
from components.merge_clips import merge_clips
from kineflow.data.ingest_settings import IngestSettings
from kineflow.flow.settings import FlowSettings
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video

SEED = 3


def write_clip(path: Path, level: int, frames: int) -> None:
    write_video(path, (np.full((16, 16, 3), level + n, np.uint8) for n in range(frames)), fps=25, gop=12)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten videos of two classes without a val split; one is a copy of another, one listed in parts, two unusable."""
    folder = tmp_path_factory.mktemp("source")
    rows = ["path,label,split,start,end"]
    for number in range(8):
        name = f"{'ab'[number % 2]}/{number}"
        write_clip(folder / f"{name}.mp4", 20 * number, 4 + 2 * number)
        rows += [f"{name}.mp4,{name[0]},{'test' if number > 6 else 'train'},{part}" for part in parts_of(number)]
    shutil.copy(folder / "a" / "0.mp4", folder / "a" / "copy.mp4")
    (folder / "b" / "broken.mp4").write_bytes(b"nothing")
    rows += ["a/copy.mp4,a,train,,", "b/broken.mp4,b,train,,", "b/absent.mp4,b,train,,"]
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


def parts_of(number: int) -> list[str]:
    return ["0,0.2", "0.2,0.5"] if number == 6 else [","]


def settings(source: Path, **given: object) -> IngestSettings:
    return IngestSettings.model_validate({"source": str(source), "val_share": 0.4} | given)


def ingest_shards(folder: Path, params: IngestSettings, count: int) -> list[Path]:
    for index in range(count):
        ingest(params=params, seed=SEED, shard=f"{index}/{count}", clips=folder / f"{index}")
    return [folder / f"{index}" for index in reversed(range(count))]


@pytest.mark.parametrize(("count", "shared"), [(2, True), (5, False)])
def test_the_set_is_that_of_an_ingest_of_the_whole(source: Path, tmp_path: Path, count: int, shared: bool) -> None:
    params = settings(source, **({"media_root": str(tmp_path / "volume"), "size": [20, 18]} if shared else {}))
    ingest(params=params, seed=SEED, clips=tmp_path / "whole")
    shards = ingest_shards(tmp_path / "shards", params, count)
    result = merge_clips(shards=shards, clips=tmp_path / "merged")
    whole, merged = ClipSet.load(tmp_path / "whole"), ClipSet.load(tmp_path / "merged")
    assert [clip.clip_id for clip in whole.usable(*{c.split for c in whole.clips if c.split == "val"})]  # some are held
    assert (list(merged.clips), merged.classes, merged.shard) == (list(whole.clips), whole.classes, None)
    assert (merged.fps, merged.size) == (whole.fps, whole.size)
    assert (tmp_path / "merged" / "rejected.csv").read_bytes() == (tmp_path / "whole" / "rejected.csv").read_bytes()
    assert result.metrics["rejected"] == 2
    shutil.rmtree(tmp_path / "shards")
    assert all(Path(str(merged.locate(clip))).is_file() for clip in merged.usable())


def test_videos_are_whole_in_a_shard_and_bytes_are_shared_out(source: Path, tmp_path: Path) -> None:
    shards = [ClipSet.load(s, may_be_shard=True) for s in ingest_shards(tmp_path, settings(source), 2)]
    videos = [{clip.source for clip in shard.clips} for shard in shards]
    assert not videos[0] & videos[1]
    sizes = [sum((source / name).stat().st_size for name in names if (source / name).exists()) for names in videos]
    assert abs(sizes[0] - sizes[1]) <= max(path.stat().st_size for path in source.rglob("*.mp4"))


def test_a_shard_is_taken_for_no_whole_set_but_its_flow_can_be_made(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [shard, _] = ingest_shards(tmp_path / "shards", settings(source), 2)
    with pytest.raises(KineflowError, match=r"shard 1/2 of a clip set.*\n.*merge_clips"):
        ClipSet.load(shard)
    fast = FlowSettings.model_validate({"preset": "fast", "device": "cpu", "workers": 1})
    extract_flow(clips=shard, params=fast, flow=tmp_path / "flow")
    usable = {clip.clip_id for clip in ClipSet.load(shard, may_be_shard=True).usable()}
    assert FlowSet.load(tmp_path / "flow").usable_ids() == usable
    with pytest.raises(SystemExit):
        command(merge_clips, ["--shards", str(shard), str(shard), "--clips", str(tmp_path / "clips")])
    assert "error: shard 0/2 is missing" in capsys.readouterr().err
    assert not (tmp_path / "clips").exists()


def test_shards_that_do_not_belong_together_are_refused(source: Path, tmp_path: Path) -> None:
    [last, first] = ingest_shards(tmp_path / "shards", settings(source), 2)
    for number, (params, seed, said) in enumerate(
        [(settings(source, crf=30), SEED, "crf is 20"), (settings(source), SEED + 1, f"seed is {SEED}")]
    ):
        other = tmp_path / f"other{number}"
        ingest(params=params, seed=seed, shard="0/2", clips=other)
        with pytest.raises(KineflowError, match=said):
            merge_clips(shards=[other, last], clips=tmp_path / "clips")
    ingest(params=settings(source), clips=tmp_path / "whole")
    with pytest.raises(KineflowError, match="whole clip set"):
        merge_clips(shards=[first, tmp_path / "whole"], clips=tmp_path / "clips")


def test_a_source_that_changed_between_shards_is_said(source: Path, tmp_path: Path) -> None:
    changing = shutil.copytree(source, tmp_path / "source")
    ingest(params=settings(changing), shard="0/2", clips=tmp_path / "0")
    for number in range(4):  # what is last in size comes to be first
        with (changing / "a" / f"{2 * number}.mp4").open("ab") as stream:
            stream.write(bytes(100_000 - number))
    ingest(params=settings(changing), shard="1/2", clips=tmp_path / "1")
    with pytest.raises(KineflowError, match="each listed clip once"):
        merge_clips(shards=[tmp_path / "0", tmp_path / "1"], clips=tmp_path / "clips")


def test_no_usable_clip_in_any_shard_is_an_error_that_can_be_looked_into(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "clips.csv").write_text("path,label,split\none.mp4,a,train\ntwo.mp4,a,train\n")
    shards = ingest_shards(tmp_path / "shards", settings(folder), 2)
    with pytest.raises(KineflowError, match="no listed video is usable"):
        merge_clips(shards=shards, clips=tmp_path / "clips")
    assert (tmp_path / "clips" / "rejected.csv").read_text().count("no such file") == 2
