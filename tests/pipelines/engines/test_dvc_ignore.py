"""Files that DVC cannot read, seen by DVC itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kineflow.storage.errors import KineflowError
from pipelines.engines.dvc_ignore import IGNORE_FILE, ignore_unreadable

STAGE = "stages:\n  s:\n    cmd: echo done > out\n    deps: [data]\n    outs: [out]\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of DVC's with a source, in which odd things lie."""
    data = tmp_path / "data"
    (data / "a b").mkdir(parents=True)
    (data / "good.mp4").write_text("good")
    for name in ("gone.mp4", "!gone [1].mp4", "a b/#gone*.mp4", "two\nlines.mp4", "trailing "):
        (data / name).symlink_to("/nowhere")
    os.mkfifo(data / "pipe.mp4")
    Path(os.fsdecode(os.fsencode(data) + b"/caf\xe9.mp4")).touch()
    (tmp_path / IGNORE_FILE).write_text("/media/")
    return tmp_path


def test_dvc_goes_on_without_them(project: Path) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q", "-f"], cwd=project, check=True)
    (project / IGNORE_FILE).write_text("/media/")
    (project / "dvc.yaml").write_text(STAGE)
    assert len(ignore_unreadable(project, [project / "data"])) == 7
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=project, check=True, timeout=60)
    assert "nfiles: 1\n" in (project / "dvc.lock").read_text()


def test_the_file_holds_what_is_so_now_and_what_others_wrote(project: Path) -> None:
    for _ in range(2):
        ignore_unreadable(project, [project / "data", project / "absent"])
    text = (project / IGNORE_FILE).read_text()
    assert text.startswith("/media/\n#")
    assert text.count("/data/pipe.mp4\n") == 1
    for path in (project / "data").rglob("*"):
        if path.name != "good.mp4" and not path.is_dir():
            path.unlink()
    assert ignore_unreadable(project, [project / "data"]) == []
    assert (project / IGNORE_FILE).read_text() == "/media/\n"


def test_a_source_outside_of_the_project_is_told(project: Path) -> None:
    inner = project / "inner"
    inner.mkdir()
    with pytest.raises(KineflowError, match=r"DVC cannot read .*data/.* and 4 more"):
        ignore_unreadable(inner, [project / "data"])
