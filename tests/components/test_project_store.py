"""Clips, flow and features in the store of a project: made once, whatever becomes of their rows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from components.extract_features import extract_features
from components.extract_flow import extract_flow
from components.ingest import ingest
from kineflow.data import ingestion
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.data.feature_settings import FeatureSettings
from kineflow.data.ingest_settings import IngestSettings
from kineflow.flow.extraction import encoding
from kineflow.flow.settings import FlowSettings
from kineflow.models.bundle import save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.feature_set import FeatureSet
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.indexed import MissingMediaError
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.training import feature_extraction

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 5
NAMES = ("a/one", "a/two", "b/one", "b/two")


def write_avi(path: Path, seed: int) -> None:
    """A video that has to be encoded: of another codec."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        image = rng.integers(0, 255, (8, 16, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        for number in range(FRAMES):
            shown = np.ascontiguousarray(image[:, number : number + 48])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        container.mux(stream.encode())


@dataclass
class Project:
    """A project with videos, and what its steps have cost.

    Attributes:
        folder: Of the project.
        rows: Label and split by the name of the video.
        indexed: Videos that were decoded to see what they hold.
        encoded: Videos that were encoded.
        fields: Flow fields that were encoded.
        time_steps: Those that a backbone saw.
    """

    folder: Path
    rows: dict[str, tuple[str, str]]
    indexed: int = 0
    encoded: int = 0
    fields: int = 0
    time_steps: int = 0
    seeds: dict[str, int] = field(default_factory=dict)

    @property
    def media(self) -> Path:
        return self.folder / "media"

    def add(self, name: str, label: str = "a") -> None:
        self.seeds[name] = len(self.seeds)
        write_avi(self.folder / "data" / f"{name}.avi", self.seeds[name])
        self.rows[name] = (label, "train")

    def list_rows(self) -> None:
        lines = [f"{name}.avi,{label},{split}" for name, (label, split) in self.rows.items()]
        (self.folder / "data" / "clips.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")

    def run(self, outputs: str = "outputs", **params: object) -> tuple[int, int, int]:
        """Run ingest and extract_flow; how many videos were indexed and encoded, and fields made."""
        self.indexed = self.encoded = self.fields = 0
        self.list_rows()
        source = str(self.folder / "data")
        clips = self.folder / outputs / "clips"
        ingest(params=IngestSettings(source=source, val_share=0, short_side=16, **params), clips=clips)
        self.extract(outputs)
        return self.indexed, self.encoded, self.fields

    def extract(self, outputs: str = "outputs") -> None:
        """Run extract_flow."""
        out, params = self.folder / outputs, FlowSettings(preset="fast", workers=1, device="cpu")
        extract_flow(clips=out / "clips", params=params, flow=out / "flow")

    def see(self, outputs: str = "outputs") -> int:
        """Run extract_features on what :meth:`run` has made; how many time steps the backbone saw."""
        self.time_steps, out = 0, self.folder / outputs
        params = FeatureSettings(splits=(Split.TRAIN,))
        extract_features(
            clips=out / "clips", backbone=self.folder / "backbone", params=params, features=out / "features"
        )
        return self.time_steps


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path / "project", {})
    (made.folder / ".dvc").mkdir(parents=True)
    for name in NAMES:
        made.add(name, label=name[0])
    index, store, write = ingestion.index_video, ingestion.store_video, encoding.write_flow
    see = feature_extraction.write_features

    def indexing(*args: object, **options: object) -> object:
        made.indexed += 1
        return index(*args, **options)

    def storing(*args: object, **how: object) -> None:
        made.encoded += 1
        store(*args, **how)

    def writing(path: Path, levels: Iterator[np.ndarray], **how: object) -> None:
        fields = list(levels)
        made.fields += len(fields)
        write(path, fields, **how)

    def seeing(path: Path, features: torch.Tensor) -> None:
        made.time_steps += len(features)
        see(path, features)

    monkeypatch.setattr(ingestion, "index_video", indexing)
    monkeypatch.setattr(ingestion, "store_video", storing)
    monkeypatch.setattr(encoding, "write_flow", writing)
    monkeypatch.setattr(feature_extraction, "write_features", seeing)
    return made


def backbone(folder: Path) -> None:
    hyperparameters = {"backbone": "googlenet", "width": 0.125, "output_stride": 8}
    torch.manual_seed(0)
    network = create_model("tsn", num_classes=0, in_channels=3, **hyperparameters)
    preprocessing = Preprocessing("rgb", 1, 1, 16, 16, (100.0,) * 3, (50.0,) * 3, segments=1)
    save_bundle(folder, network, ModelCard("b", "tsn", hyperparameters, (), preprocessing))


def test_only_what_is_new_is_made(project: Project) -> None:
    assert project.run() == (4, 4, 4 * (FRAMES - 1))

    project.rows["a/one"] = ("b", "test")
    assert project.run() == (0, 0, 0)
    assert {c.clip_id: c.label for c in ClipSet.load(project.folder / "outputs" / "clips").clips}["a/one"] == "b"

    for name in ("a/three", "c/one"):
        project.add(name)
    assert project.run() == (2, 2, 2 * (FRAMES - 1))

    del project.rows["b/two"]
    assert project.run() == (0, 0, 0)

    (project.folder / "data" / "b" / "one.avi").rename(project.folder / "data" / "c" / "moved.avi")
    project.rows["c/moved"] = project.rows.pop("b/one")
    assert project.run() == (0, 0, 0)
    flow = FlowSet.load(project.folder / "outputs" / "flow")
    assert set(project.rows) == flow.usable_ids()

    assert project.run("runs/other/outputs") == (0, 0, 0)
    assert project.run("runs/smaller/outputs", crf=30) == (0, 5, 5 * (FRAMES - 1))


@pytest.mark.slow
def test_features_are_seen_once(project: Project) -> None:
    backbone(project.folder / "backbone")
    project.run()
    assert project.see() == 4 * (FRAMES - 1)
    project.rows["a/one"] = ("b", "train")
    project.add("a/three")
    project.run()
    assert project.see() == FRAMES - 1
    project.run("elsewhere")
    assert project.see("elsewhere") == 0
    features = FeatureSet.load(project.folder / "elsewhere" / "features")
    assert len(features.read("a/three", np.arange(FRAMES - 1))) == FRAMES - 1
    assert features.locate("a/three").is_relative_to(project.media / "features")


def test_sets_hold_no_media_and_nothing_is_left_beside_them(project: Project) -> None:
    project.run()
    out = project.folder / "outputs"
    assert {path.name for path in out.iterdir()} == {"clips", "flow"}
    assert {path.name for path in out.rglob("*.*")} == {
        "manifest.parquet", "clipset.json", "rejected.csv", "flow.parquet", "flowset.json"
    }  # fmt: skip
    assert {path.name for path in project.media.iterdir()} == {"clips", "flow", "index", "sets", ".lock"}


def test_a_set_is_the_same_wherever_the_project_lies_and_moves_with_it(project: Project, tmp_path: Path) -> None:
    project.run()
    out = project.folder / "outputs"
    before = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert json.loads((out / "clips" / "clipset.json").read_text())["media_root"] == "../../media"
    project.folder.rename(tmp_path / "moved")
    moved = Project(tmp_path / "moved", project.rows)
    clips = ClipSet.load(moved.folder / "outputs" / "clips")
    assert all(clips.locate(clip).is_relative_to(moved.media) for clip in clips.usable())
    moved.run()
    out = moved.folder / "outputs"
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_the_store_may_be_a_link_to_another_disk(project: Project, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    project.media.symlink_to(tmp_path / "disk")
    project.run()
    flow = FlowSet.load(project.folder / "outputs" / "flow")
    assert flow.media_root == str(project.media)
    assert all(flow.locate(clip_id).is_relative_to(tmp_path / "disk") for clip_id in flow.usable_ids())
    assert project.run("again") == (0, 0, 0)
    described = [json.loads((project.folder / o / "flow" / "flowset.json").read_text()) for o in ("outputs", "again")]
    assert [each["media_root"] for each in described] == ["../../media"] * 2


def test_a_project_may_be_named(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINEFLOW_PROJECT", str(project.folder))
    project.list_rows()
    ingest(params=IngestSettings(source=str(project.folder / "data"), val_share=0), clips=tmp_path / "far" / "clips")
    assert ClipSet.load(tmp_path / "far" / "clips").media_root == str(project.media)


def test_videos_of_the_same_bytes_are_stored_once(project: Project) -> None:
    for name in ("a/copy", "b/copy"):
        project.add(name)
        (project.folder / "data" / f"{name}.avi").write_bytes((project.folder / "data" / "a" / "one.avi").read_bytes())
    assert project.run() == (4, 4, 4 * (FRAMES - 1))
    flow = FlowSet.load(project.folder / "outputs" / "flow")
    assert flow.entries["a/one"].path == flow.entries["a/copy"].path == flow.entries["b/copy"].path


class TestMissing:
    """Somebody has removed files from the store."""

    def test_who_reads_says_which_file_and_how_to_get_it_back(self, project: Project) -> None:
        project.run()
        clips, flow = (project.folder / "outputs" / name for name in ("clips", "flow"))
        clip_set, flow_set = ClipSet.load(clips), FlowSet.load(flow)
        geometry = Geometry(ClipSpec(2, 1), short_side=16, crop=16)
        samples = ClipDataset(
            clip_set, clip_set.usable(), modalities=("rgb", "flow"), geometry=geometry, flow_set=flow_set
        )
        gone = flow_set.locate("a/one")
        assert isinstance(gone, Path)
        gone.unlink()
        with pytest.raises(MissingMediaError, match=r"'a/one'.* gone") as caught:
            samples[0]
        assert (caught.value.where, "extract_flow" in str(caught.value.remedy)) == (gone, True)
        gone = clip_set.locate(clip_set.clips[0])
        assert isinstance(gone, Path)
        gone.unlink()
        with pytest.raises(MissingMediaError, match="clip set is gone"):
            project.extract()

    def test_the_steps_make_them_again(self, project: Project) -> None:
        project.run()
        clips = ClipSet.load(project.folder / "outputs" / "clips")
        flow = FlowSet.load(project.folder / "outputs" / "flow")
        clip, field = (Path(str(place)) for place in (clips.locate(clips.clips[0]), flow.locate("b/one")))
        before = clip.read_bytes(), field.read_bytes()
        clip.unlink()
        field.unlink()
        assert project.run() == (0, 1, FRAMES - 1)
        assert (clip.read_bytes(), field.read_bytes()) == before

    def test_a_whole_store_is_made_again(self, project: Project, tmp_path: Path) -> None:
        project.run()
        project.media.rename(tmp_path / "gone")
        with pytest.raises(KineflowError, match="gone"):
            project.extract()
        assert project.run() == (4, 4, 4 * (FRAMES - 1))


SLOW_INGEST = """
import time
from pathlib import Path
from components.ingest import ingest
from kineflow.data import ingestion
from kineflow.data.ingest_settings import IngestSettings

store_video = ingestion.store_video
def slow(*args, **options):
    store_video(*args, **options)
    time.sleep(0.3)
ingestion.store_video = slow
ingest(params=IngestSettings(source={source!r}, val_share=0, short_side=16, workers=1), clips=Path({clips!r}))
"""


@pytest.mark.slow
def test_after_a_kill_only_the_rest_is_made(project: Project) -> None:
    project.list_rows()
    clips = project.folder / "outputs" / "clips"
    code = SLOW_INGEST.format(source=str(project.folder / "data"), clips=str(clips))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)

    def finished() -> list[Path]:
        return [path for path in (project.media / "clips").rglob("*.mp4") if not path.name.startswith(".")]

    while len(finished()) < 2 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = len(finished())
    assert 2 <= done < len(NAMES)
    assert not clips.exists()
    indexed, encoded, fields = project.run()
    assert (encoded, fields) == (len(NAMES) - done, len(NAMES) * (FRAMES - 1))
    assert indexed <= len(NAMES) - done
    assert {path.name for path in clips.parent.iterdir()} == {"clips", "flow"}
