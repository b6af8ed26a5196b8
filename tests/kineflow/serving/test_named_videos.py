from pathlib import Path

import pytest

from kineflow.serving.named_videos import find_videos
from kineflow.storage.errors import KineflowError
from tests.swift import Swift


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a/one.AVI", "a/two.mkv", "a/notes.txt", ".hidden/x.mp4", "odd.dat"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(*named: str) -> list[str]:
    return [video.name for video in find_videos(named)]


def test_folders_patterns_and_files_are_found_once_and_in_order(folder: Path) -> None:
    assert names(str(folder)) == [f"{folder}/{name}" for name in ("a/one.AVI", "a/two.mkv", "b.mp4")]
    assert names(f"{folder}/**/*.m*") == [f"{folder}/a/two.mkv", f"{folder}/b.mp4"]
    assert names(f"{folder}/odd.dat", f"{folder}/b.mp4", str(folder))[:2] == [f"{folder}/odd.dat", f"{folder}/b.mp4"]
    assert len(names(f"{folder}/b.mp4", str(folder))) == 3


def test_what_is_no_video_keeps_its_place_with_a_reason(folder: Path) -> None:
    (folder / "empty").mkdir()
    found = find_videos([f"{folder}/*.mov", f"{folder}/empty", f"{folder}/b.mp4"])
    assert [bool(video.error) for video in found] == [True, True, False]
    with pytest.raises(KineflowError, match="no file matches"), found[0].fetch():
        pass


@pytest.mark.parametrize("name", ["s3://ann:secretword@bucket/clips", "rtsp://ann:secretword@host/1.mp4"])
def test_an_address_with_a_password_is_not_told(name: str) -> None:
    [video] = find_videos([name])
    assert "secretword" not in video.name + video.error
    assert video.error


def test_a_name_with_brackets_that_exists_is_no_pattern(folder: Path) -> None:
    (folder / "clip[1].mp4").touch()
    assert names(f"{folder}/clip[1].mp4") == [f"{folder}/clip[1].mp4"]


def test_objects_and_prefixes_on_s3(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    bucket = swift.make_bucket()
    for key in ("day/a.mp4", "day/sub/b.mkv", "day/list.csv", "other/c.mp4"):
        swift.client().put_object(Bucket=bucket, Key=key, Body=key.encode())
    found = find_videos([f"s3://{bucket}/day", f"s3://{bucket}/other/c.mp4", f"s3://{bucket}/nothing"])
    keys = ["day/a.mp4", "day/sub/b.mkv", "other/c.mp4", "nothing"]
    assert [video.name for video in found] == [f"s3://{bucket}/{key}" for key in keys]
    for video, key in zip(found[:3], keys, strict=False):
        with video.fetch() as path:
            assert path.read_bytes() == key.encode()
    assert found[3].error
