"""The one error a user is meant to read."""

from __future__ import annotations

from collections.abc import Sequence
from errno import EIO, errorcode
from pathlib import Path

MISTAKE = 2
"""Exit code of what the same work would only meet again."""

OUT_OF_SIGHT = 4
"""Exit code where a server or a network file system did not answer, or could not: the same work may do later."""

_FAULTS_SHOWN = 20
_PASSING = ("ESTALE", "EIO", "ETIMEDOUT", "ENODEV", "EREMOTEIO", "ENOTCONN", "EHOSTDOWN")
_FFMPEG = "av.error"
_ONCE_BACK = "see that this storage can be reached, and run the same again; finished work is kept"


class KineflowError(Exception):
    """A mistake that its reader can mend; front ends print it without a traceback and exit with its code.

    Raised at an error of the system that may pass (:func:`is_out_of_reach`), it is no mistake: it ends with
    ``OUT_OF_SIGHT``, and its remedy says so.

    Args:
        problem: What is wrong, with the offending value.
        where: The file, row or key it was found in.
        remedy: What to do about it, as an imperative sentence.
        exit_code: Of the command that it ends: ``MISTAKE``; or what may pass, ``OUT_OF_SIGHT`` or 28 (ENOSPC), which
            tells a full disk.
    """

    def __init__(
        self, problem: str, *, where: str | Path | None = None, remedy: str | None = None, exit_code: int = MISTAKE
    ) -> None:
        super().__init__(problem)
        self.problem, self.where, self._remedy, self._exit_code = problem, where, remedy, exit_code

    @property
    def exit_code(self) -> int:
        """Of the command that it ends."""
        return OUT_OF_SIGHT if self._may_pass() else self._exit_code

    @property
    def remedy(self) -> str | None:
        """What to do about it."""
        return _ONCE_BACK if self._may_pass() else self._remedy

    def _may_pass(self) -> bool:
        cause = self.__context__
        while cause is not None and (_is_damage(cause) or not is_out_of_reach(cause)):
            cause = cause.__context__
        return self._exit_code == MISTAKE and cause is not None

    def __str__(self) -> str:
        prefix = f"{self.where}: " if self.where is not None else ""
        remedy = f"\n  → {self.remedy}" if self.remedy else ""
        return f"{prefix}{self.problem}{remedy}"


def is_out_of_reach(error: BaseException) -> bool:
    """Whether the system says by this error that a path's storage does not answer now, as a network file system may."""
    return isinstance(error, OSError) and errorcode.get(error.errno or 0) in _PASSING


def _is_damage(error: BaseException) -> bool:
    """FFmpeg gives a damaged video the system's number too."""
    return type(error).__module__ == _FFMPEG and getattr(error, "errno", None) == EIO


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def raise_together(faults: Sequence[KineflowError], *, where: str | Path, remedy: str) -> None:
    """Raise what was found, if anything was: one mistake as it is, several as one message with all of them.

    Args:
        faults: What was found.
        where: The file that they are about.
        remedy: For several: what to do, or that nothing was done.
    """
    if len(faults) == 1:
        raise faults[0]
    if faults:
        shown = "\n".join(f"  {str(fault).replace(chr(10), chr(10) + '  ')}" for fault in faults[:_FAULTS_SHOWN])
        more = f"\n  and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise KineflowError(f"{len(faults)} things stand in the way\n{shown}{more}", where=where, remedy=remedy)
