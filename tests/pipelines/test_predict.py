import csv
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from kineflow.models.bundle import save_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.serving.trial import example_video
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from pipelines import predict_timeline
from pipelines.predict import predict_videos
from pipelines.predict_timeline import predict_timelines

pytestmark = pytest.mark.slow

WANTED = Preprocessing("rgb", 8, 1, 64, 64, (114.75,) * 3, (57.375,) * 3)
CARD = ModelCard("student", "s3d", {"width": 0.0625}, ("=left", "right"), WANTED)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bundle") / "student"
    save_bundle(folder, create_model("s3d", num_classes=2, width=0.0625), CARD)
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "sub/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(example_video(CARD))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    return tmp_path


def test_an_odd_video_is_a_row_and_the_others_are_answered(folder: Path, model: str) -> None:
    lines: list[str] = []
    table, objects = folder / "out.csv", folder / "out.json"
    with pytest.raises(KineflowError, match="2 of 4 videos have no answer"):
        predict_videos(
            [str(folder), f"{folder}/gone.mp4"], model, top=2, csv_file=table, json_file=objects, say=lines.append
        )
    rows = list(csv.DictReader(table.open()))
    assert [Path(row["path"]).name for row in rows] == ["a.mp4", "b.mp4", "c.mp4", "gone.mp4"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True]
    assert {rows[0]["label"], rows[0]["label_2"]} == {"'=left", "right"}, "no spreadsheet runs a class"
    answers = json.loads(objects.read_text())
    assert [answer["label"] for answer in answers] == [lines[0].split("\t")[1], None, lines[2].split("\t")[1], None]
    assert sum(each["score"] for each in answers[0]["top"]) == pytest.approx(1)


def test_one_video_gets_a_table_of_classes(folder: Path, model: str) -> None:
    lines: list[str] = []
    predict_videos([f"{folder}/a.mp4"], model, top=5, csv_file=None, json_file=None, say=lines.append)
    assert sorted(line.split("%")[1].strip() for line in lines) == ["=left", "right"]


def test_what_was_answered_is_written_where_it_is_interrupted(
    folder: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kineflow.serving import predict

    def stop(video: Path, *_: object, **options: object) -> object:
        if video.name == "c.mp4":
            raise KeyboardInterrupt
        return predict_video(video, *_, **options)  # type: ignore[arg-type]

    predict_video = predict.predict_video
    monkeypatch.setattr(predict, "predict_video", stop)
    table = folder / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_videos([str(folder)], model, top=1, csv_file=table, json_file=None, say=lambda _: None)
    assert [Path(row["path"]).name for row in csv.DictReader(table.open())] == ["a.mp4", "b.mp4"]


def test_two_kinds_of_output_do_not_go_to_one_place(folder: Path, model: str) -> None:
    for place in (folder / "out", Path("-")):
        with pytest.raises(KineflowError, match="cannot both go to"):
            predict_videos([str(folder / "a.mp4")], model, top=1, csv_file=place, json_file=place, say=print)


def test_a_timeline_has_windows_segments_and_pictures(folder: Path, model: str) -> None:
    from kineflow.video.index import index_video

    lines: list[str] = []
    table, objects, drawn = folder / "t.csv", folder / "t.json", folder / "drawn.mp4"
    predict_timelines(
        [f"{folder}/a.mp4"], model, step_sec=None, threshold=0.0, csv_file=table, json_file=objects,
        annotated=drawn, say=lines.append,
    )  # fmt: skip
    [row] = csv.DictReader(table.open())
    [segment] = csv.DictReader((folder / "t_segments.csv").open())
    assert (row["start_s"], row["end_s"]) == (segment["start_s"], segment["end_s"]) == ("0.0", "0.32")
    [answer] = json.loads(objects.read_text())
    assert answer["windows"] == answer["segments"]
    assert len(lines) == 1
    index = index_video(drawn)
    assert (index.status, index.frames) == ("ok", index_video(folder / "a.mp4").frames)


@pytest.mark.parametrize("is_of_the_disk", [False, True])
def test_a_timeline_of_a_broken_video_is_told(
    folder: Path, model: str, monkeypatch: pytest.MonkeyPatch, is_of_the_disk: bool
) -> None:
    table, answer = folder / "t.csv", predict_timeline._answer

    def fails(video: Path, *others: Any) -> None:
        if video.name == "b.mp4":
            raise OSError(errno.EIO, "Input/output error")
        answer(video, *others)

    if is_of_the_disk:
        monkeypatch.setattr(predict_timeline, "_answer", fails)
    with pytest.raises(KineflowError, match="1 of 3 videos were not answered"):
        predict_timelines(
            [str(folder)], model, step_sec=1.0, threshold=0.5, csv_file=table, json_file=None, annotated=None,
            say=lambda _: None,
        )  # fmt: skip
    assert [bool(row["error"]) for row in csv.DictReader(table.open())] == [False, True, False]
