"""The step ingest, from raw files to a clip set, with all that goes wrong on the way."""

from __future__ import annotations

import csv
import errno
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from components.ingest import ingest
from kineflow.data.clip_ids import clip_ids
from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.layouts import ListedClip
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.video.decode import PartReader, read_frames
from kineflow.video.encode import write_video
from kineflow.video.index import VideoIndex, index_video

ROOT = Path(__file__).resolve().parents[2]


def write_clip(path: Path, *, level: int = 60, frames: int = 8, side: int = 32, gop: int = 12) -> Path:
    """A conforming video, grey, one level brighter every frame."""
    images = (np.full((side, side, 3), level + number, np.uint8) for number in range(frames))
    write_video(path, images, fps=25, gop=gop)
    return path


def write_avi(path: Path, *, frames: int = 8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(frames):
            image = np.full((32, 48, 3), 50 + number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    return path


def turn_into_pixels_of(path: Path, aspect: int) -> None:
    """Say in an mp4 that pixels are so many times as wide as high: a track that is scaled."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 4] = struct.pack(">i", aspect << 16)
    path.write_bytes(content)


def write_dots(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 1
        stream.pix_fmt = "gray"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((1, 1), np.uint8), "gray")))
        container.mux(stream.encode())


def write_csv(source: Path, *rows: str, header: str = "path,label,split") -> Path:
    (source / "clips.csv").write_text("\n".join([header, *rows]) + "\n")
    return source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four sound videos and their list."""
    folder = tmp_path / "source"
    for number, name in enumerate(["a/one", "a/two", "b/one"]):
        write_clip(folder / f"{name}.mp4", level=40 + 20 * number)
    write_avi(folder / "b" / "two.avi")
    return write_csv(folder, "a/one.mp4,a,train", "b/one.mp4,b,train", "a/two.mp4,a,test", "b/two.avi,,unlabelled")


def run(source: Path, clips: Path, **params: object) -> ClipSet:
    ingest(params=IngestSettings(source=str(source), **params), clips=clips)
    return ClipSet.load(clips)


def left_over(folder: Path, *known: str) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"source", *known}


class TestClipSet:
    def test_rows_and_media(self, source: Path, tmp_path: Path) -> None:
        result = ingest(params=IngestSettings(source=str(source), val_share=0), clips=tmp_path / "clips")
        clip_set = ClipSet.load(tmp_path / "clips")
        assert clip_set.classes == ("a", "b")
        assert [(c.clip_id, c.label, c.group, c.split.value, c.source) for c in clip_set.clips] == [
            ("a/one", "a", "a/one", "train", "a/one.mp4"),
            ("a/two", "a", "a/two", "test", "a/two.mp4"),
            ("b/one", "b", "b/one", "train", "b/one.mp4"),
            ("b/two", None, "b/two", "unlabelled", "b/two.avi"),
        ]
        for clip in clip_set.clips:
            stored = index_video(clip_set.locate(clip))
            assert (stored.frames, stored.fps, stored.width, stored.height, stored.codec, stored.status) == (
                clip.frames, clip.fps, clip.width, clip.height, "h264", Status.OK
            )  # fmt: skip
            assert clip.sha256 == sha256_of(source / clip.source)
        expected = {"clips": 4.0, "rejected": 0.0, "frames": 32.0, "seconds": 32 / 25}
        assert expected.items() <= result.metrics.items()
        assert result.metrics["bytes"] == sum(p.stat().st_size for p in (tmp_path / "clips" / "media").rglob("*.mp4"))
        assert result.summary.startswith("4 clips, 0 rejected")
        assert left_over(tmp_path, "clips") == set()

    def test_conforming_bytes_are_kept_and_others_are_encoded(self, source: Path, tmp_path: Path) -> None:
        write_clip(source / "a" / "one.mp4", gop=250, frames=20)
        clip_set = run(source, tmp_path / "clips")
        stored = {clip.clip_id: clip_set.locate(clip) for clip in clip_set.clips}
        assert stored["b/one"].read_bytes() == (source / "b" / "one.mp4").read_bytes()
        assert index_video(stored["a/one"]).max_gop == 12
        as_given = read_frames(source / "b" / "two.avi").astype(int)
        assert np.abs(read_frames(stored["b/two"]) - as_given).max() <= 4

    def test_the_same_twice_gives_the_same_bytes(self, source: Path, tmp_path: Path) -> None:
        for name in ("first", "second"):
            run(source, tmp_path / name, short_side=16)
        first, second = (
            {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
            for name in ("first", "second")
        )
        assert first == second

    def test_parts_of_one_video(self, source: Path, tmp_path: Path) -> None:
        write_clip(source / "long.mp4", level=20, frames=100)
        rows = ("long.mp4,a,train,0,2", "long.mp4,b,train,2,", "long.mp4,b,test,3.96,5", "long.mp4,b,val,,")
        write_csv(source, *rows, header="path,label,split,start,end")
        clip_set = run(source, tmp_path / "clips")
        clips = {clip.clip_id: clip for clip in clip_set.clips}
        facts = {name: (clip.frames, clip.status.value) for name, clip in clips.items()}
        assert facts == {
            "long_0-2000ms": (50, "ok"),
            "long_2000-endms": (50, "ok"),
            "long_3960-5000ms": (1, "short"),
            "long": (100, "ok"),
        }
        assert {clip.group for clip in clips.values()} == {"long"}
        assert {clip.video_sha256 or clip.sha256 for clip in clips.values()} == {sha256_of(source / "long.mp4")}
        assert sorted(clip.first_frame for clip in clips.values()) == [0, 0, 50, 99]
        assert len({clip.sha256 for clip in clips.values()}) == 4
        assert clips["long_3960-5000ms"].reason == "1 frames in the part that is listed, fewer than 2"
        second = read_frames(clip_set.locate(clips["long_2000-endms"]))
        assert np.abs(second.mean(axis=(1, 2, 3)) - np.arange(70, 120)).max() < 3

    def test_media_elsewhere(self, source: Path, tmp_path: Path) -> None:
        clip_set = run(source, tmp_path / "clips", media_root=str(tmp_path / "volume"))
        assert clip_set.media_root == str(tmp_path / "volume")
        assert all(clip_set.locate(clip).is_file() for clip in clip_set.clips)
        assert not (tmp_path / "clips" / "media").exists()

    def test_val_is_held_out_by_the_seed(self, source: Path, tmp_path: Path) -> None:
        rows = []
        for number in range(10):
            write_clip(source / f"{number}.mp4", level=number)
            rows.append(f"{number}.mp4,a,train")
        write_csv(source, *rows, "b/one.mp4,a,test")
        held = {}
        for seed in (0, 0, 1):
            ingest(params=IngestSettings(source=str(source), val_share=0.3), seed=seed, clips=tmp_path / "clips")
            clip_set = ClipSet.load(tmp_path / "clips")
            found = tuple(clip.clip_id for clip in clip_set.usable(Split.VAL))
            assert len(found) == 3
            assert held.setdefault(seed, found) == found
        assert held[0] != held[1]


class TestLayouts:
    def test_ucf101(self, tmp_path: Path) -> None:
        source = tmp_path / "source"
        for name in ("Jump/v_Jump_g01_c01", "Jump/v_Jump_g02_c01", "Run/v_Run_g01_c01"):
            write_avi(source / "UCF-101" / f"{name}.avi")
        lists = tmp_path / "lists"
        lists.mkdir()
        (lists / "classInd.txt").write_text("1 Run\n2 Jump\n")
        (lists / "trainlist02.txt").write_text("Jump/v_Jump_g01_c01.avi 2\nRun/v_Run_g01_c01.avi 1\n")
        (lists / "testlist02.txt").write_text("Jump/v_Jump_g02_c01.avi\nRun/v_Run_g09_c01.avi\n")
        clip_set = run(source, tmp_path / "clips", layout="ucf101", annotations=str(lists), split_number=2, val_share=0)
        assert clip_set.classes == ("Run", "Jump")
        assert [(c.clip_id, c.split.value, c.status.value, c.reason) for c in clip_set.clips] == [
            ("Run/v_Run_g09_c01", "test", "unreadable", "no such file in the source"),
            ("UCF-101/Jump/v_Jump_g01_c01", "train", "ok", ""),
            ("UCF-101/Jump/v_Jump_g02_c01", "test", "ok", ""),
            ("UCF-101/Run/v_Run_g01_c01", "train", "ok", ""),
        ]

    def test_hmdb51(self, tmp_path: Path) -> None:
        source = tmp_path / "source"
        for number in range(2):
            write_avi(source / "wave" / f"Film [x]!_wave_f_cm_np1_fr_med_{number}.avi")
        (source / "wave_test_split1.txt").write_text(
            "Film [x]!_wave_f_cm_np1_fr_med_0.avi 1 \nFilm [x]!_wave_f_cm_np1_fr_med_1.avi 0 \n"
        )
        (clip,) = run(source, tmp_path / "clips", layout="hmdb51").clips
        assert (clip.label, clip.group, clip.source) == (
            "wave",
            "wave/Film [x]!",
            "wave/Film [x]!_wave_f_cm_np1_fr_med_0.avi",
        )
        assert clip.clip_id.startswith("wave/Film__x___wave_f_cm_np1_fr_med_0-")

    def test_kinetics(self, tmp_path: Path) -> None:
        source = tmp_path / "source"
        write_clip(source / "waving" / "abc_000010_000020.mp4", frames=10)
        write_clip(source / "waving" / "cut.mp4", frames=50)
        write_clip(source / "waving" / "upload.mp4", frames=150)
        (source / "k.csv").write_text(
            "label,youtube_id,time_start,time_end,split\nwaving,abc,10,20,train\n"
            "waving,cut,7,9,validate\nwaving,upload,1,3,test\nwaving,gone,1,3,test\n"
        )
        clips = {clip.group: clip for clip in run(source, tmp_path / "clips", layout="kinetics").clips}
        assert {name: (clip.frames, clip.split.value) for name, clip in clips.items()} == {
            "abc": (10, "train"), "cut": (50, "val"), "upload": (50, "test"), "gone": (0, "test")
        }  # fmt: skip

    @pytest.mark.slow
    def test_all_real_clips(self, shared_data: Path, tmp_path: Path) -> None:
        clips = sorted(p.name for p in (shared_data / "clips").iterdir() if p.suffix in (".avi", ".mp4"))
        (tmp_path / "clips.csv").write_text("path,label,split\n" + "".join(f"{name},x,train\n" for name in clips))
        clip_set = run(shared_data / "clips", tmp_path / "set", annotations=str(tmp_path / "clips.csv"), short_side=64)
        assert sum(clip.frames for clip in clip_set.usable()) == 72 + 74 + 48 + 83 + 240 + 251 + 303 + 332 + 327
        assert {min(clip.width, clip.height) for clip in clip_set.clips} == {64}
        for clip in clip_set.clips:
            assert read_frames(clip_set.locate(clip), [clip.frames - 1]).shape == (1, clip.height, clip.width, 3)


class TestBadInput:
    def test_broken_files_become_rows_and_the_rest_goes_on(self, source: Path, tmp_path: Path) -> None:
        whole = (source / "a" / "one.mp4").read_bytes()
        bad = {"zero": b"", "text": b"no video\n", "half": whole[: len(whole) // 2]}
        for name, content in bad.items():
            (source / f"{name}.mp4").write_bytes(content)
        write_clip(source / "single.mp4", frames=1)
        rows = [f"{name}.mp4,a,train" for name in (*bad, "single", "gone")]
        write_csv(source, "a/one.mp4,a,train", *rows)
        result = ingest(params=IngestSettings(source=str(source)), clips=tmp_path / "clips")
        assert (result.metrics["clips"], result.metrics["rejected"]) == (1, 5)

        clip_set = ClipSet.load(tmp_path / "clips")
        assert {c.clip_id: c.status.value for c in clip_set.clips} == {
            "a/one": "ok",
            "gone": "unreadable",
            "half": "unreadable",
            "single": "short",
            "text": "unreadable",
            "zero": "unreadable",
        }
        assert all(bool(clip.path) == (clip.status is Status.OK) == (not clip.reason) for clip in clip_set.clips)
        with (tmp_path / "clips" / "rejected.csv").open() as stream:
            rejected = list(csv.DictReader(stream))
        assert [row["source"] for row in rejected] == ["gone.mp4", "half.mp4", "single.mp4", "text.mp4", "zero.mp4"]
        assert [row["reason"] for row in rejected] == [c.reason for c in clip_set.clips if c.status is not Status.OK]
        assert result.artifacts == {"rejected.csv": tmp_path / "clips" / "rejected.csv"}

    def test_what_cannot_be_encoded_or_is_too_long_is_a_row(self, source: Path, tmp_path: Path) -> None:
        write_video(source / "wide.mp4", [np.zeros((2, 16384, 3), np.uint8)] * 3, fps=25, gop=100)
        turn_into_pixels_of(source / "wide.mp4", 2)  # 32768 wide, when they are made square
        write_dots(source / "dot.mkv")
        write_clip(source / "long.mp4", frames=60)
        (source / "clip.mp4").write_bytes(b"GIF89a")
        (source / "locked.mp4").mkdir()
        rows = ("wide", "long", "clip", "locked")
        write_csv(
            source,
            *(f"{name}.mp4,a,train,," for name in rows),
            "dot.mkv,a,train,,",
            "long.mp4,a,train,1,2",
            "a/one.mp4,a,test,,",
            header="path,label,split,start,end",
        )
        clip_set = run(source, tmp_path / "clips", max_frames=50)
        reasons = {clip.clip_id: clip.reason for clip in clip_set.clips}
        assert "x264 cannot encode pictures of 32768x2" in reasons.pop("wide")
        assert reasons.pop("long").startswith("60 frames, more than 'max_frames' (50)")
        assert "a GIF; convert it" in reasons.pop("clip")
        assert reasons.pop("locked") == "a folder, not a file"
        assert "smaller than 2x2" in reasons.pop("dot")
        assert reasons == {"long_1000-2000ms": "", "a/one": ""}

    def test_parts_in_frames(self, source: Path, tmp_path: Path) -> None:
        write_clip(source / "long.mp4", level=20, frames=60)
        tags = "".join(f'<image id="{n}"><tag label="{"a" if n < 30 else "b"}"/></image>' for n in range(10, 90))
        meta = "<meta><task><id>1</id><source>long.mp4</source></task></meta>"
        (source / "annotations.xml").write_text(f"<annotations>{meta}{tags}</annotations>")
        clip_set = run(source, tmp_path / "clips", layout="cvat")
        facts = {clip.clip_id: (clip.label, clip.first_frame, clip.frames) for clip in clip_set.clips}
        assert facts == {"long_10-30f": ("a", 10, 20), "long_30-90f": ("b", 30, 30)}
        first = read_frames(clip_set.locate(clip_set.clips[0]))
        assert np.abs(first.mean(axis=(1, 2, 3)) - np.arange(30, 50)).max() < 3

    def test_a_part_of_a_file_of_more_frames_than_are_read_whole(self, source: Path, tmp_path: Path) -> None:
        write_clip(source / "hour.mp4", level=20, frames=100)
        write_csv(source, "hour.mp4,a,train,2,3", "hour.mp4,b,test,,", header="path,label,split,start,end")
        whole, part = sorted(run(source, tmp_path / "clips", max_frames=25).clips, key=lambda clip: clip.clip_id)
        assert (part.status, part.frames) == (Status.OK, 25)
        assert (whole.status, "max_frames" in whole.reason) == (Status.UNREADABLE, True)
        with pytest.raises(KineflowError, match="max_frames"):
            parse_params(IngestSettings, {"max_frames": 10**9}, where="ingest")

    def test_a_folder_that_cannot_be_written_ends_the_run(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def store(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("kineflow.data.ingestion.store_video", store)
        with pytest.raises(PermissionError):
            run(source, tmp_path / "clips")

    def test_nothing_usable(self, source: Path, tmp_path: Path) -> None:
        write_csv(source, *(f"{number}.mp4,a,train" for number in range(12)))
        with pytest.raises(KineflowError, match="no listed video is usable") as caught:
            run(source, tmp_path / "clips")
        assert "0.mp4: no such file" in str(caught.value)
        assert "and 2 more" in str(caught.value)
        assert str(tmp_path / "clips" / "rejected.csv") in str(caught.value)
        assert len((tmp_path / "clips" / "rejected.csv").read_text().splitlines()) == 1 + 12

    def test_an_empty_source(self, tmp_path: Path) -> None:
        (tmp_path / "source").mkdir()
        with pytest.raises(KineflowError, match="the source is empty"):
            run(tmp_path / "source", tmp_path / "clips")

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ("../secret.mp4,a,train", "leads outside"),
            ("link.mp4,a,train", "a link to .*, outside of the source"),
            ("a/one.mp4,a,dev", "unknown split"),
        ],
    )
    def test_lists_that_mislead(self, source: Path, tmp_path: Path, row: str, problem: str) -> None:
        write_clip(tmp_path / "secret.mp4")
        (source / "link.mp4").symlink_to(tmp_path / "secret.mp4")
        write_csv(source, row)
        with pytest.raises(KineflowError, match=problem):
            run(source, tmp_path / "clips")
        assert not list((tmp_path / "clips").rglob("*.mp4"))

    def test_params_are_checked(self) -> None:
        with pytest.raises(KineflowError, match="media cannot be kept at an address of 'gs'") as caught:
            parse_params(
                IngestSettings, {"media_root": "gs://b", "layout": "ucf10", "crf": 52, "shortside": 3}, where="ingest"
            )
        assert all(key in str(caught.value) for key in ("ingest.layout", "ingest.crf", "ingest.shortside"))


class TestInterruption:
    @pytest.fixture
    def encoded(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Names of the sources that were stored, in order."""
        from kineflow.data import ingestion

        names: list[str] = []
        really_store = ingestion.store_video

        def store(reader: PartReader, *rest: object, **options: object) -> None:
            names.append(Path(str(reader.path)).name)
            really_store(reader, *rest, **options)

        monkeypatch.setattr(ingestion, "store_video", store)
        return names

    @pytest.fixture
    def indexed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Names of the sources that were decoded for their index, in order."""
        from kineflow.data import ingestion

        names: list[str] = []
        really_index = ingestion.index_video

        def index(path: Path, **known: str) -> VideoIndex:
            names.append(path.name)
            return really_index(path, **known)

        monkeypatch.setattr(ingestion, "index_video", index)
        return names

    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt(), OSError(errno.EIO, "broken"), OSError(errno.ENOSPC, "full")]
    )
    def test_finished_work_is_not_done_again(
        self,
        source: Path,
        tmp_path: Path,
        encoded: list[str],
        indexed: list[str],
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
    ) -> None:
        for number in range(6):
            write_clip(source / f"{number}.mp4", level=40 + number, gop=250, frames=20)
        write_csv(source, *(f"{number}.mp4,a,train" for number in range(6)))

        def breaks(*_: object) -> int:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("kineflow.sets.media.put_in_place", breaks)
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            with pytest.raises(KineflowError if full else type(error)) as caught:
                run(source, tmp_path / "clips", workers=1)
            assert not full or "no space left" in str(caught.value)
        assert len(encoded) == len(indexed) == 6
        assert left_over(tmp_path) == {".clips-work"}

        (work,) = (tmp_path / ".clips-work").iterdir()
        min(work.rglob("*.mp4")).unlink()
        min(work.rglob("*.json")).write_text('{"frames": ')
        assert len(run(source, tmp_path / "clips").usable()) == 6
        assert (len(encoded), len(indexed)) == (7, 7)
        assert left_over(tmp_path, "clips") == set()

    def test_other_settings_find_no_old_work(
        self, source: Path, tmp_path: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("kineflow.sets.media.put_in_place", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                run(source, tmp_path / "clips", short_side=64)
        clip_set = run(source, tmp_path / "clips", short_side=16)
        assert {clip.height for clip in clip_set.clips} == {16}
        assert len(encoded) == 8

    @pytest.fixture
    def running(self, source: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        """The step in a process of its own, with 12 videos to encode, slowed down so that it can be met half-way."""
        names = [f"{number}.mp4" for number in range(12)]
        for number, name in enumerate(names):
            write_clip(source / name, level=40 + number, gop=250, frames=20)
        write_csv(source, *(f"{name},a,train" for name in names))
        code = SLOW_INGEST.format(source=str(source), clips=str(tmp_path / "clips"))
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        yield process
        process.kill()
        process.wait()

    @pytest.mark.slow
    def test_a_killed_run_is_continued(
        self, source: Path, tmp_path: Path, encoded: list[str], running: subprocess.Popen[str]
    ) -> None:
        finished = wait_for_work(tmp_path, at_least=3, process=running)
        running.kill()
        running.wait()
        assert not (tmp_path / "clips").exists()

        clip_set = run(source, tmp_path / "clips")
        assert len(clip_set.usable()) == 12
        assert 0 < len(encoded) <= 12 - finished
        assert left_over(tmp_path, "clips") == set()
        assert all(index_video(clip_set.locate(clip)).status is Status.OK for clip in clip_set.clips)

    @pytest.mark.slow
    def test_ctrl_c_leaves_nothing_half_written(self, tmp_path: Path, running: subprocess.Popen[str]) -> None:
        wait_for_work(tmp_path, at_least=2, process=running)
        running.send_signal(signal.SIGINT)
        _, messages = running.communicate(timeout=120)
        assert running.returncode != 0
        assert "KeyboardInterrupt" in messages
        assert left_over(tmp_path) == {".clips-work"}
        work = [path.name for path in tmp_path.glob(".clips-work/**/*.mp4")]
        assert len(work) < 12
        assert not [name for name in work if "partial" in name]


SLOW_INGEST = """
import time
from pathlib import Path
from kineflow.data import ingestion
from kineflow.data.ingest_settings import IngestSettings
from components.ingest import ingest

store_video = ingestion.store_video
def slow(*args, **options):
    store_video(*args, **options)
    time.sleep(0.2)
ingestion.store_video = slow
ingest(params=IngestSettings(source={source!r}), clips=Path({clips!r}))
"""


def wait_for_work(folder: Path, *, at_least: int, process: subprocess.Popen[str]) -> int:
    """Wait until the process has finished some videos; how many."""
    for _ in range(3000):
        finished = [p for p in folder.glob(".clips-work/**/*.mp4") if not p.name.startswith(".")]
        if len(finished) >= at_least:
            return len(finished)
        assert process.poll() is None, "the process ended before it could be stopped"
        time.sleep(0.01)
    raise AssertionError("the process has done nothing")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of an S3 server in this process."""
    pytest.importorskip("moto", reason="the S3 tests need moto[server]")
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.mark.slow
def test_from_s3_is_as_from_a_folder(source: Path, tmp_path: Path, s3: str) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket="ingested")
    for path in source.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "ingested", f"set/{path.relative_to(source).as_posix()}")
    from_s3 = IngestSettings(source="s3://ingested/set", endpoint_url=s3)
    ingest(params=from_s3, clips=tmp_path / "from_s3")
    assert ClipSet.load(tmp_path / "from_s3").clips == run(source, tmp_path / "from_folder").clips


def test_clip_ids_are_safe_and_unique() -> None:
    def listed(source: str, start: float | None = None) -> ListedClip:
        return ListedClip(source, "a", Split.TRAIN, "g", "here", start_sec=start)

    sources = ["a/b.mp4", "x.avi", "X.mp4", "ü y.mp4", "ä y.mp4", "v1.5.mp4"]
    ids = clip_ids([*map(listed, sources), listed("a/b.mp4", 1.5)])
    assert (ids[0], ids[-1]) == ("a/b", "a/b_1500-endms")
    assert len({identity.lower() for identity in ids}) == len(ids)
    assert all(
        set(identity) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/") for identity in ids
    )
    assert ids == clip_ids([*map(listed, sources), listed("a/b.mp4", 1.5)])
