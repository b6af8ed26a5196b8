from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.sets.media import put_in_place
from kineflow.storage.errors import KineflowError

CONTENTS = {"a.mp4": b"12", "g/b.mp4": b"345"}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name, content in CONTENTS.items():
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_bytes(content)
    return tmp_path / "work"


@pytest.mark.parametrize("links", [True, False])
def test_files_lie_in_both_places(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    put_in_place(CONTENTS, work, tmp_path / "media")
    for name, content in CONTENTS.items():
        assert (tmp_path / "media" / name).read_bytes() == content
        assert (tmp_path / "media" / name).samefile(work / name) is links


def test_files_that_lie_there_already_are_left(work: Path) -> None:
    put_in_place(["a.mp4"], work, work)
    assert (work / "a.mp4").read_bytes() == b"12"


def test_no_path_leads_outside(work: Path, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="outside"):
        put_in_place(["../escape.mp4"], work, tmp_path / "media")
