"""What all kinds of sets share on disk: sets of earlier versions, and media roots that move with a project."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureEntry, FeatureSet
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.sets.indexed import MissingMediaError
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError

TEXT, WHOLE = pa.string(), pa.int32()


def save_earlier(folder: Path, index: str, schema: pa.Schema, rows: list[dict[str, Any]], **described: Any) -> Path:
    """A set as the first versions wrote it: media in the set, named by clips; columns that may be empty."""
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / index)
    (
        folder / {"manifest.parquet": "clipset.json", "flow.parquet": "flowset.json"}.get(index, "features.json")
    ).write_text(json.dumps({**described, "media_root": "media"}))
    for row in rows:
        if row["path"]:
            (folder / "media" / row["path"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / "media" / row["path"]).touch()
    return folder


def test_clip_sets_of_earlier_versions_are_read(tmp_path: Path) -> None:
    texts = ("clip_id", "path", "label", "group", "split")
    schema = pa.schema(
        [*((name, TEXT) for name in texts), ("frames", WHOLE), ("fps", pa.float64()),
         *((name, WHOLE) for name in ("width", "height", "rotation")),
         *((name, TEXT) for name in ("sha256", "status", "reason", "source"))]
    )  # fmt: skip
    row = Clip("a/b", "a/b.mp4", None, "g", Split.TRAIN, 5, 25.0, 8, 6, 0, "0", Status.OK, "", "b.avi", "", 0)
    plain = ("a/b", "a/b.mp4", None, "g", "train", 5, 25.0, 8, 6, 0, "0", "ok", "", "b.avi")
    values = dict(zip(schema.names, plain, strict=True))
    loaded = ClipSet.load(save_earlier(tmp_path / "set", "manifest.parquet", schema, [values], classes=["x"]))
    assert (loaded.clips, loaded.classes) == ((row,), ("x",))
    assert loaded.locate(row) == tmp_path / "set" / "media" / "a" / "b.mp4"


def test_flow_sets_of_earlier_versions_are_read(tmp_path: Path) -> None:
    schema = pa.schema(
        [("clip_id", TEXT), ("path", TEXT), ("fields", WHOLE), ("width", WHOLE), ("height", WHOLE), ("status", TEXT),
         ("reason", TEXT)]
    )  # fmt: skip
    values = dict(zip(schema.names, ("a", "a-0123456789ab.mp4", 4, 8, 6, "ok", ""), strict=True))
    folder = save_earlier(
        tmp_path / "set", "flow.parquet", schema, [values], bound_px=20.0, params={"algorithm": "tvl1"}
    )
    loaded = FlowSet.load(folder)
    assert loaded.entries == {"a": FlowEntry("a", "a-0123456789ab.mp4", 4, 8, 6, Status.OK, "")}
    assert loaded.locate("a") == folder / "media" / "a-0123456789ab.mp4"


def test_feature_sets_of_earlier_versions_are_read(tmp_path: Path) -> None:
    schema = pa.schema([("clip_id", TEXT), ("path", TEXT), ("time_steps", WHOLE), ("status", TEXT), ("reason", TEXT)])
    values = dict(zip(schema.names, ("a", "a-0.safetensors", 4, "ok", ""), strict=True))
    seen = {"modality": "rgb", "frames": 1, "stride_frames": 1, "short_side": 8, "crop": 8, "mean": [1.0] * 3,
            "std": [1.0] * 3}  # fmt: skip
    source = {"backbone": "0", "name": "b", "tap": "map", "preprocessing": seen, "flow": None}
    folder = save_earlier(
        tmp_path / "set", "features.parquet", schema, [values], format_version=1, source=source, shape=[3, 2, 2]
    )
    loaded = FeatureSet.load(folder)
    assert (loaded.shape, loaded.entries["a"]) == ((3, 2, 2), FeatureEntry("a", "a-0.safetensors", 4, Status.OK, ""))
    assert loaded.locate("a") == folder / "media" / "a-0.safetensors"


def flow_set(root: str) -> FlowSet:
    return FlowSet(20.0, {"a": FlowEntry("a", "flow/aa/a.mp4", 4, 8, 6, Status.OK, "")}, root, {})


@pytest.mark.parametrize(
    ("place", "root", "recorded"),
    [
        ("project/outputs/flow", "project/media", "../../media"),
        ("project/runs/x/outputs/flow", "project/media", "../../../../media"),
        ("project/outputs/flow", "project/outputs/flow/media", "media"),
        ("outside/flow", "outside/flow/media", "media"),
        ("outside/flow", "project/media", None),
        ("project/outputs/flow", "volume", None),
    ],
)
def test_a_root_is_relative_where_both_move_together(
    tmp_path: Path, place: str, root: str, recorded: str | None
) -> None:
    (tmp_path / "project" / ".dvc").mkdir(parents=True)
    saved = flow_set(str(tmp_path / root))
    saved.save(tmp_path / place)
    described = json.loads((tmp_path / place / "flowset.json").read_text())
    assert described["media_root"] == (recorded or str(tmp_path / root))
    assert FlowSet.load(tmp_path / place) == saved
    (tmp_path / "link").symlink_to(tmp_path / place)  # merge_flow is given links to sets
    assert FlowSet.load(tmp_path / "link") == saved


@pytest.mark.parametrize("load", [ClipSet.load, FlowSet.load, FeatureSet.load])
def test_a_later_format_is_refused(tmp_path: Path, load: Callable[[Path], object]) -> None:
    for name in ("clipset", "flowset", "features"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"format_version": 4}))
    with pytest.raises(KineflowError, match=r"of format 4; this Kineflow reads up to [23]"):
        load(tmp_path)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingMediaError) as caught:
        flow_set(str(tmp_path)).locate("a")
    assert caught.value.where == tmp_path / "flow" / "aa" / "a.mp4"
