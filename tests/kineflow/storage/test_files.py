import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kineflow.storage.errors import KineflowError
from kineflow.storage.files import (
    KEEP_WORK,
    atomic_file,
    atomic_folder,
    discard_work,
    inside,
    sha256_of,
    sweep,
    work_done,
    work_folder,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half_a_file(target: Path, interruption: type[BaseException]) -> None:
    with atomic_file(target) as partial:
        partial.write_text("half")
        raise interruption


def write_half_a_folder(target: Path, interruption: type[BaseException]) -> None:
    with atomic_folder(target) as partial:
        (partial / "fresh").write_text("half")
        raise interruption


interruptions = pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])


class TestWholeFile:
    def test_appears_with_its_content_and_nothing_beside_it(self, tmp_path):
        target = tmp_path / "new" / "figures.json"
        with atomic_file(target) as partial:
            partial.write_text("1")
            assert not target.exists()
        assert target.read_text() == "1"
        assert names(target.parent) == ["figures.json"]

    def test_temporary_name_keeps_folder_and_suffix(self, tmp_path):
        with atomic_file(tmp_path / "clip.mp4") as partial:
            assert partial.parent == tmp_path
            assert partial.suffix == ".mp4"
            partial.write_text("")

    @interruptions
    def test_leaves_nothing_when_the_block_fails(self, tmp_path, interruption):
        with pytest.raises(interruption):
            write_half_a_file(tmp_path / "a.txt", interruption)
        assert names(tmp_path) == []

    @interruptions
    def test_keeps_what_was_there_when_the_block_fails(self, tmp_path, interruption):
        (tmp_path / "a.txt").write_text("old")
        with pytest.raises(interruption):
            write_half_a_file(tmp_path / "a.txt", interruption)
        assert (tmp_path / "a.txt").read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    def test_replaces_atomically(self, tmp_path):
        """A reader who has the old file open reads all of it: the new one is another file under the same name."""
        target = tmp_path / "a.txt"
        target.write_text("old")
        with target.open() as reader:
            with atomic_file(target) as partial:
                partial.write_text("new")
            assert reader.read() == "old"
        assert target.read_text() == "new"

    def test_is_readable_by_others(self, tmp_path):
        with atomic_file(tmp_path / "a") as partial:
            partial.write_text("")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


class TestWholeFolder:
    @pytest.fixture
    def target(self, tmp_path) -> Path:
        target = tmp_path / "model.v1"
        target.mkdir()
        (target / "stale").write_text("old")
        return target

    def test_replaces_the_old_folder_with_all_its_files(self, target):
        with atomic_folder(target) as partial:
            (partial / "fresh").write_text("new")
            assert names(target) == ["stale"]
        assert names(target) == ["fresh"]
        assert names(target.parent) == ["model.v1"]
        assert target.stat().st_mode & 0o777 == 0o755

    def test_needs_no_old_folder(self, tmp_path):
        with atomic_folder(tmp_path / "deep" / "model") as partial:
            (partial / "fresh").write_text("new")
        assert names(tmp_path / "deep") == ["model"]

    @interruptions
    def test_keeps_the_old_folder_when_the_block_fails(self, target, interruption):
        with pytest.raises(interruption):
            write_half_a_folder(target, interruption)
        assert (target / "stale").read_text() == "old"
        assert names(target.parent) == ["model.v1"]

    def test_puts_the_old_folder_back_when_interrupted_between_the_two_moves(self, target, monkeypatch):
        move = Path.replace

        def interrupted(path: Path, to: Path) -> Path:
            if path.suffix == ".partial":
                raise KeyboardInterrupt
            return move(path, to)

        monkeypatch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt), atomic_folder(target) as partial:
            (partial / "fresh").write_text("new")
        assert names(target) == ["stale"]
        assert names(target.parent) == ["model.v1"]


WRITE = """
import sys, time
from pathlib import Path
from kineflow.storage.files import atomic_file, atomic_folder
with atomic_file(Path("a.txt")) as file, atomic_folder(Path("model")) as folder:
    file.write_text("half")
    (folder / "half").touch()
    print(flush=True)
    time.sleep(100)
"""


class TestSweep:
    @pytest.fixture
    def writer(self, tmp_path):
        """A process that is at a file and at a folder, both begun a while ago."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        assert process.stdout.readline()
        for path in tmp_path.iterdir():
            os.utime(path, (1, 1))
        yield process
        process.kill()
        process.communicate()

    def test_what_is_being_written_stays(self, tmp_path, writer):
        before = names(tmp_path)
        assert len(before) == 2
        sweep(tmp_path)
        assert names(tmp_path) == before

    def test_what_a_killed_process_was_writing_goes_with_the_next_write(self, tmp_path, writer):
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        (tmp_path / ".keep").touch()
        with atomic_file(tmp_path / "b.txt") as partial:
            partial.touch()
        assert names(tmp_path) == [".keep", "b.txt"]

    def test_what_was_moved_aside_is_put_back_where_nothing_took_its_place(self, tmp_path):
        """Killed between the two moves of a folder's replacement."""
        for name in ("model", "clips"):
            (tmp_path / f".{name}-1a2b3c4d.replaced").mkdir()
            os.utime(tmp_path / f".{name}-1a2b3c4d.replaced", (1, 1))
        (tmp_path / "clips").mkdir()
        sweep(tmp_path)
        assert names(tmp_path) == ["clips", "model"]

    def test_hidden_files_of_others_stay_and_stop_nothing(self, tmp_path):
        theirs = [".foo.partial", ".foo.removed", ".x-y.partial", ".a-12345678.partially"]
        for name in theirs:
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (1, 1))
        with atomic_file(tmp_path / "b.txt") as partial:
            partial.touch()
        assert names(tmp_path) == sorted([*theirs, "b.txt"])


class TestWorkFolder:
    def test_done_work_stays_where_a_run_is_to_record_the_result_first(self, tmp_path, monkeypatch):
        work_folder(tmp_path / "flow", "a")
        monkeypatch.setenv(KEEP_WORK, "1")
        work_done(tmp_path / "flow")
        assert names(tmp_path) == [".flow-work"]
        monkeypatch.delenv(KEEP_WORK)
        work_done(tmp_path / "flow")
        assert names(tmp_path) == []

    def test_half_of_it_is_never_found(self, tmp_path, monkeypatch):
        """Killed as it is removed, file by file."""
        (work_folder(tmp_path / "flow", "a") / "part").touch()
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
        discard_work(tmp_path / "flow")
        assert names(work_folder(tmp_path / "flow", "a")) == []

    def test_same_key_finds_the_same_work(self, tmp_path):
        output = tmp_path / "flow"
        (work_folder(output, "a", 1) / "part").write_text("done")
        assert (work_folder(output, "a", 1) / "part").read_text() == "done"

    @pytest.mark.parametrize("key", [("a", 2), ("a1",), ("a", "1"), ()])
    def test_another_key_finds_nothing_and_removes_abandoned_work(self, tmp_path, key):
        output = tmp_path / "flow"
        abandoned = work_folder(output, "a", 1)
        (abandoned / "part").write_text("done")
        assert names(work_folder(output, *key)) == []
        assert not abandoned.exists()

    def test_outputs_do_not_share_work(self, tmp_path):
        first = work_folder(tmp_path / "flow", "a")
        second = work_folder(tmp_path / "clips", "a")
        assert first != second
        assert first.exists()

    def test_discarded_work_is_gone_and_may_be_discarded_twice(self, tmp_path):
        work_folder(tmp_path / "flow", "a")
        discard_work(tmp_path / "flow")
        discard_work(tmp_path / "flow")
        assert names(tmp_path) == []


class TestInside:
    @pytest.mark.parametrize("relative", ["a.mp4", "deep/er/a.mp4", "deep/../a.mp4"])
    def test_resolves_below_the_root(self, tmp_path, relative):
        assert inside(tmp_path, relative) == (tmp_path / relative).resolve()

    @pytest.mark.parametrize("relative", ["../a.mp4", "deep/../../a.mp4", "/etc/passwd", "a\0b"])
    def test_refuses_what_leads_out_or_is_no_path(self, tmp_path, relative):
        with pytest.raises(KineflowError, match="leads outside") as caught:
            inside(tmp_path / "root", relative)
        assert caught.value.where == tmp_path / "root"

    def test_refuses_a_sibling_whose_name_begins_like_the_root(self, tmp_path):
        (tmp_path / "clips-secret").mkdir()
        with pytest.raises(KineflowError):
            inside(tmp_path / "clips", "../clips-secret")

    def test_refuses_links_that_lead_out(self, tmp_path):
        root = tmp_path / "root"
        root.mkdir()
        (tmp_path / "secret").write_text("")
        (root / "link").symlink_to(tmp_path)
        with pytest.raises(KineflowError):
            inside(root, "link/secret")

    def test_refuses_links_in_a_circle(self, tmp_path):
        (tmp_path / "a").symlink_to(tmp_path / "b")
        (tmp_path / "b").symlink_to(tmp_path / "a")
        with pytest.raises(KineflowError):
            inside(tmp_path, "a")

    def test_a_root_that_is_a_link_is_followed(self, tmp_path):
        (tmp_path / "volume").mkdir()
        (tmp_path / "root").symlink_to(tmp_path / "volume")
        assert inside(tmp_path / "root", "a.mp4") == tmp_path / "volume" / "a.mp4"


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"kineflow")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"kineflow").hexdigest()
