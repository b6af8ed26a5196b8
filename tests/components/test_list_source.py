"""The step list_source: a source on a real S3 server and in a folder, as it grows and changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from components.frontend.kfp import run_in_kfp
from components.list_source import list_source
from kineflow.data.ingest_settings import IngestSettings
from kineflow.storage.errors import KineflowError
from tests.swift import Swift


def version(settings: IngestSettings, out: Path) -> str:
    list_source(params=settings, listed=out)
    return str(json.loads(out.read_text())["source_version"])


def test_what_is_new_or_changed_on_s3_is_seen(swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    bucket, client, out = swift.make_bucket(), swift.client(), tmp_path / "listed"
    settings = IngestSettings(source=f"s3://{bucket}/videos", layout="folder")
    with pytest.raises(KineflowError, match="empty"):
        version(settings, out)
    client.put_object(Bucket=bucket, Key="videos/run/a.mp4", Body=b"12")
    first = version(settings, out)
    client.put_object(Bucket=bucket, Key="videos-of-others/b.mp4", Body=b"12")
    client.put_object(Bucket=bucket, Key="videos/.hidden/b.mp4", Body=b"12")
    assert version(settings, out) == first
    client.put_object(Bucket=bucket, Key="videos/run/a.mp4", Body=b"34")  # of the same size
    changed = version(settings, out)
    client.put_object(Bucket=bucket, Key="videos/run/b.mp4", Body=b"12")
    assert len({first, changed, version(settings, out)}) == 3


def test_lists_beside_a_folder_count_too(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"12")
    lists = tmp_path / "clips.csv"
    lists.write_text("path,label\na.mp4,run\n")
    settings = IngestSettings(source=str(tmp_path / "videos"), annotations=str(lists))
    first = version(settings, tmp_path / "listed")
    assert version(settings, tmp_path / "listed") == first
    lists.write_text("path,label\na.mp4,hop\n")
    os.utime(lists, ns=(1, 1))
    assert version(settings, tmp_path / "listed") != first


def test_the_next_step_takes_the_section_as_it_was_given(tmp_path: Path) -> None:
    """What is handed on for the cache's sake is no unknown key of it."""
    (tmp_path / "a.mp4").write_bytes(b"12")
    settings = IngestSettings(source=str(tmp_path), layout="folder").model_dump(mode="json")
    listed, again = tmp_path.parent / "listed.json", tmp_path.parent / "again.json"
    run_in_kfp("components.list_source", {"params": settings, "listed": str(listed)})
    handed_on = json.loads(listed.read_text())
    run_in_kfp("components.list_source", {"params": handed_on, "listed": str(again)})
    assert json.loads(again.read_text()) == handed_on
    assert {key: value for key, value in handed_on.items() if key != "source_version"} == settings
