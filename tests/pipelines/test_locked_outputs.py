import hashlib
import json
from pathlib import Path

import pytest

from kineflow.storage.errors import KineflowError
from pipelines.locked_outputs import LockedOutput, as_folder, locked_outputs, locked_sources, missing_files


def put(cache: Path, content: bytes, suffix: str = "") -> str:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
    path = cache / "files" / "md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


def folder_of(cache: Path, files: dict[str, bytes]) -> str:
    listed = [{"relpath": path, "md5": put(cache, content)} for path, content in files.items()]
    return put(cache, json.dumps(listed).encode(), ".dir")


def test_a_folder_comes_back_as_it_was_put_into_the_cache(tmp_path: Path) -> None:
    md5 = folder_of(tmp_path, {"model.json": b"{}", "deep/weights": b"1"})
    assert missing_files(md5, tmp_path) == 0
    with as_folder(md5, tmp_path) as folder:
        assert (folder / "deep" / "weights").read_bytes() == b"1"
        assert (folder / "model.json").read_bytes() == b"{}"


def test_what_the_cache_lacks_is_counted(tmp_path: Path) -> None:
    md5 = folder_of(tmp_path, {"a": b"1", "b": b"2"})
    gone = hashlib.md5(b"2", usedforsecurity=False).hexdigest()
    (tmp_path / "files" / "md5" / gone[:2] / gone[2:]).unlink()
    assert missing_files(md5, tmp_path) == 1
    assert missing_files("00" * 16 + ".dir", tmp_path) == 1


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out"])
def test_no_file_lands_outside_of_the_folder(tmp_path: Path, path: str) -> None:
    md5 = folder_of(tmp_path, {path: b"1", "a": b"2"})
    with as_folder(md5, tmp_path) as folder:
        assert [each.name for each in folder.rglob("*")] == ["a"]


def test_a_hash_that_is_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="is no hash"):
        missing_files("../../etc/passwd", tmp_path)


def test_what_stages_have_made_and_read_is_listed(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text("stages: {plain: {outs: [{path: outputs/plain/model, md5: ab.dir}]}, close: {cmd: x}}")
    assert locked_outputs(lock) == [LockedOutput("plain", "outputs/plain/model", "ab.dir")]
    lock.write_text(
        "stages: {ingest: {deps: [{path: /videos, md5: 12.dir}], outs: [{path: clips, md5: ab.dir}]},"
        " plain: {deps: [{path: clips, md5: ab.dir}]}}"
    )
    assert locked_sources(lock) == [LockedOutput("ingest", "/videos", "12.dir")]
    lock.write_text("stages: [1]")
    with pytest.raises(KineflowError, match="not a lock"):
        locked_outputs(lock)
