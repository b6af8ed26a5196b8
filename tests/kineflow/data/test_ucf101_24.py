"""The published boxes of UCF101-24, in files that other programs have written."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kineflow.data.ucf101_24 import is_published, read_published_boxes
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.evaluation.attention.truth import clips_and_truth
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.storage.mat_file import read_mat

NAME = "Skijet/v_Skijet_g01_c01"
VIPER = """<?xml version="1.0" encoding="UTF-8"?>
<viper xmlns="http://lamp.cfar.umd.edu/viper#" xmlns:data="http://lamp.cfar.umd.edu/viperdata#"><data>
<sourcefile filename="v_Skijet_g01_c01.avi"><object framespan="2:9" id="0" name="PERSON">
<attribute name="Location"><data:bbox framespan="2:3 5:5" height="20" width="10" x="300" y="30"/>
<data:bbox framespan="9:9" height="20" width="10" x="40" y="30"/></attribute></object>
<object framespan="1:1" id="1" name="PERSON"><attribute name="Location">
<data:bbox framespan="1:1" height="5" width="30" x="-10" y="0"/></attribute></object></sourcefile></data></viper>
"""


def a_clip(name: str = NAME, frames: int = 6, *, part: str = "", first: int = 0) -> Clip:
    known = (f"UCF-101/{name}{part}", "a.mp4", "Skijet", "g", Split.TEST, frames, 25.0, 320, 240, 0, "0", Status.OK, "")
    return Clip(*known, f"UCF-101/{name}.avi", first_frame=first)


def save_mat(path: Path, *tubes: dict[str, Any], name: str = NAME, packed: bool = True) -> Path:
    io = pytest.importorskip("scipy.io", reason="files of boxes are written by scipy")
    fields = [("ef", object), ("sf", object), ("class", object), ("boxes", object)]
    rows = np.array([tuple(tube[key] for key, _ in fields) for tube in tubes], dtype=fields)
    annot = np.array([(6, name, rows)], dtype=[("num_imgs", object), ("name", object), ("tubes", object)])
    io.savemat(path, {"other": np.arange(3), "annot": annot}, do_compression=packed)
    return path


TUBE = {"sf": 2, "ef": 4, "class": 18, "boxes": np.array([[10, 20, 30, 40], [11, 20, 30, 40], [310, 20, 30, 40]])}


@pytest.mark.parametrize("packed", [True, False])
def test_corrected_boxes(packed: bool, tmp_path: Path) -> None:
    later = {**TUBE, "sf": 6, "ef": 8}
    file = save_mat(tmp_path / "finalAnnots.mat", TUBE, later, packed=packed)
    first, second = read_published_boxes(file, [a_clip()])[f"UCF-101/{NAME}"]
    assert (first.label, first.frames.tolist(), first.width, first.height) == ("Skijet", [1, 2, 3], 320, 240)
    assert first.boxes.tolist() == [[10, 20, 40, 60], [11, 20, 41, 60], [310, 20, 320, 60]]
    assert second.frames.tolist() == [5], "the clip has six frames"


def test_viper_files(tmp_path: Path) -> None:
    (tmp_path / "Skijet").mkdir()
    (tmp_path / "Skijet" / "v_Skijet_g01_c01.xgtf").write_text(VIPER)
    first, second = read_published_boxes(tmp_path, [a_clip()])[f"UCF-101/{NAME}"]
    assert (first.frames.tolist(), first.boxes[0].tolist()) == ([1, 2, 4], [300, 30, 310, 50])
    assert (second.actor, second.boxes.tolist()) == ("1", [[0, 0, 20, 5]])


def test_parts_of_a_video_have_their_own_frames(tmp_path: Path) -> None:
    file = save_mat(tmp_path / "finalAnnots.mat", TUBE)
    parts = [a_clip(frames=2, part="_0_2"), a_clip(frames=3, part="_2_5", first=2), a_clip(part="_9", first=9)]
    tracks = read_published_boxes(file, parts)
    assert {clip: [track.frames.tolist() for track in found] for clip, found in tracks.items()} == {
        parts[0].clip_id: [[1]],
        parts[1].clip_id: [[0, 1]],
    }
    assert tracks[parts[1].clip_id][0].boxes[0].tolist() == [11, 20, 41, 60]


def test_clips_of_another_rate_are_refused(tmp_path: Path) -> None:
    file = save_mat(tmp_path / "finalAnnots.mat", TUBE)
    with pytest.raises(KineflowError, match=r"brought to 12\.5 frames a second"):
        clips_and_truth(ClipSet(("Skijet",), (a_clip(),), str(tmp_path), 12.5), LocaliseSettings(boxes=str(file)))


def test_localisation_takes_them(tmp_path: Path) -> None:
    file = save_mat(tmp_path / "finalAnnots.mat", TUBE)
    clip_set = ClipSet(("Skijet",), (a_clip(), a_clip("Skijet/v_Skijet_g02_c01")), str(tmp_path))
    clips, truth_of = clips_and_truth(clip_set, LocaliseSettings(boxes=str(file)))
    assert [clip.clip_id for clip in clips] == [f"UCF-101/{NAME}"]
    assert truth_of is not None
    assert truth_of(clips[0]).region.any(axis=(1, 2)).tolist() == [False, True, True, True, False, False]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"MATLAB 7.3 MAT-file", "save it with -v7"),
        (b"\x80\x04pickle", "no MATLAB file"),
        (b"MATLAB 5.0".ljust(126) + b"IM", "no variable 'annot'"),
        (b"MATLAB 5.0".ljust(126) + b"IM" + b"\x0e\0\0\0\xff\0\0\0", "longer than the file"),
        (b"MATLAB 5.0".ljust(126) + b"IM" + b"\x0f\0\0\0\x04\0\0\0abcd", "damaged"),
    ],
)
def test_other_files_are_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "boxes.mat"
    file.write_bytes(content)
    with pytest.raises(KineflowError, match=problem):
        read_published_boxes(file, [a_clip()])


def test_what_is_unpacked_is_bounded(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(1_000_000))
    element = b"\x0f\0\0\0" + len(packed).to_bytes(4, "little") + packed
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0".ljust(126) + b"IM" + element)
    with pytest.raises(ValueError, match="unpacks to more"):
        read_mat(tmp_path / "a.mat", max_bytes=100_000)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"9:9"', '"9:9999999"'), ('"9:9"', '"0:4"'), ('x="40"', 'x="nan"'), (' x="40"', ""), ("<data>", "<")],
)
def test_malformed_viper_files_are_named(old: str, new: str, tmp_path: Path) -> None:
    file = tmp_path / "v_Skijet_g01_c01.xgtf"
    file.write_text(VIPER.replace(old, new))
    with pytest.raises(KineflowError, match=r"v_Skijet_g01_c01\.xgtf: no readable ViPER file"):
        read_published_boxes(tmp_path, [a_clip()])


def test_the_form_is_told_by_the_name(tmp_path: Path) -> None:
    assert is_published(tmp_path)
    assert is_published(Path("finalAnnots.mat"))
    assert not is_published(Path("boxes.csv"))
