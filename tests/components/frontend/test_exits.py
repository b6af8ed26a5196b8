import errno
import logging

import pytest

from components.frontend.exits import exit_code, say_progress
from kineflow.storage.errors import KineflowError


class TestExitCode:
    def raising(self, error: BaseException):
        def work() -> None:
            raise error

        return work

    def test_success(self, capsys):
        assert exit_code(lambda: None) == 0
        assert capsys.readouterr().err == ""

    def test_interruption(self, capsys):
        assert exit_code(self.raising(KeyboardInterrupt())) == 130
        assert capsys.readouterr().err == (
            "interrupted: what was finished is kept; run the same command again to go on\n"
        )

    def test_interruption_in_its_own_words(self, capsys):
        assert exit_code(self.raising(KeyboardInterrupt("start anew"))) == 130
        assert capsys.readouterr().err == "interrupted: start anew\n"

    def test_a_mistake_may_have_a_code_of_its_own(self, capsys):
        assert exit_code(self.raising(KineflowError("full", exit_code=28))) == 28

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device", "/volume/model"),
            OSError(errno.EDQUOT, "Disk quota exceeded", "/volume/model"),
        ],
    )
    def test_full_disk_names_the_file(self, capsys, error):
        assert exit_code(self.raising(error)) == errno.ENOSPC
        assert "/volume/model: no space left on the disk" in capsys.readouterr().err

    def test_full_disk_met_by_a_native_library(self, capsys):
        error = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
        assert exit_code(self.raising(error)) == errno.ENOSPC
        assert capsys.readouterr().err.startswith("error: no space left on the disk\n")

    @pytest.mark.parametrize("error", [OSError(errno.EIO, "broken disk"), ZeroDivisionError()])
    def test_our_own_mistakes_keep_their_traceback(self, error):
        with pytest.raises(type(error)):
            exit_code(self.raising(error))


def test_other_libraries_only_warn_after_kfps_executor_has_let_them_speak():
    root = logging.getLogger()
    before = root.level
    try:
        root.setLevel(logging.INFO)
        say_progress()
        assert not logging.getLogger("great_expectations").isEnabledFor(logging.INFO)
        assert logging.getLogger("kineflow.flow").isEnabledFor(logging.INFO)
    finally:
        root.setLevel(before)
