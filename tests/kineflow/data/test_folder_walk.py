"""Walks through folders with links."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.data.folder_walk import folders_for_links, walk_folder
from kineflow.storage.errors import KineflowError


def test_every_way_to_a_file_is_a_name_and_no_way_is_endless(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    for folder in (root / "a" / "deep", disk / "walk"):
        folder.mkdir(parents=True)
    (root / "a" / "deep" / "x.mp4").touch()
    (disk / "walk" / "y.mp4").touch()
    (root / "b").symlink_to("a")
    (root / "far").symlink_to(disk)
    (disk / "back").symlink_to(root)
    (root / "a" / "deep" / "up").symlink_to(root)
    allowed = walk_folder(root, folders_for_links(root, [disk]))
    assert allowed.names == ["a/deep/x.mp4", "b/deep/x.mp4", "far/walk/y.mp4"]
    assert allowed.remarks == []
    refused = walk_folder(root, folders_for_links(root, []))
    assert refused.names == ["a/deep/x.mp4", "b/deep/x.mp4"]
    assert len(refused.remarks) == 1
    assert f"far → {disk}" in refused.remarks[0]


def test_links_that_multiply_end_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kineflow.data.folder_walk._MOST_FILES", 2000)
    for one in range(9):
        (tmp_path / str(one)).mkdir()
        for other in range(9):
            (tmp_path / str(one) / f"to{other}").symlink_to(tmp_path / str(other))
    with pytest.raises(KineflowError, match="more than 2,000 files and folders"):
        walk_folder(tmp_path, folders_for_links(tmp_path, []))
