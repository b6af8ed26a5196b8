"""What validation gives, without the library that evaluates it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ROWS_SHOWN = 20
_LINE = 100  # characters a line of the message may have
_CHECKS_IN_MESSAGE = 6


class Severity(StrEnum):
    """What a failed check does to the run."""

    CRITICAL = "critical"  # stops it
    WARNING = "warning"  # is shown and recorded


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: Stable identifier, e.g. ``groups_in_one_split``.
        title: What should hold, as a sentence.
        severity: See :class:`Severity`.
        passed: Whether it holds; False as well when the check could not be evaluated.
        observed: What was seen instead, in a phrase; empty when the check passed.
        rows: Ids of offending clips, at most ``ROWS_SHOWN`` of them.
        row_count: How many clips offend in all.
        detail: Why it matters and what to do.
        error: Why the check itself could not be evaluated; empty otherwise.
    """

    name: str
    title: str
    severity: Severity
    passed: bool
    observed: str = ""
    rows: tuple[str, ...] = ()
    row_count: int = 0
    detail: str = ""
    error: str = ""


@dataclass(frozen=True)
class Validation:
    """All checks, in the order of the suite."""

    checks: tuple[Check, ...]

    @property
    def failed_critical(self) -> tuple[Check, ...]:
        """Checks that stop the run."""
        return tuple(check for check in self.checks if not check.passed and check.severity is Severity.CRITICAL)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """Failed checks that do not stop the run."""
        return tuple(check for check in self.checks if not check.passed and check.severity is Severity.WARNING)

    def message(self) -> str:
        """The critical failures on one screen (at most 20 lines of 100 characters): what, which rows, the remedy."""
        failed = self.failed_critical
        lines = [f"{len(failed)} of {len(self.checks)} checks of the clip set failed"]
        for check in failed[:_CHECKS_IN_MESSAGE]:
            lines += [_cut(line) for line in _lines(check)]
        if len(failed) > _CHECKS_IN_MESSAGE:
            names = ", ".join(check.name for check in failed[_CHECKS_IN_MESSAGE:])
            lines.append(_cut(f"  and {len(failed) - _CHECKS_IN_MESSAGE} more: {names}"))
        return "\n".join(lines)


def one_line(check: Check) -> str:
    """Title and observation of a failed check, e.g. for a log."""
    observations = [check.observed] if check.observed else []
    if check.error:
        observations.append(f"not evaluated ({check.error})")
    return f"{check.title}: {'; '.join(observations)}"


def _lines(check: Check) -> list[str]:
    lines = [f"  ✗ {one_line(check)}"]
    if check.rows:
        count = f"{check.row_count} clips: " if check.row_count > 1 else ""
        lines.append(f"      {count}{', '.join(check.rows[:3])}{', …' if check.row_count > 3 else ''}")
    if check.detail:
        lines.append(f"      {check.detail}")
    return lines


def _cut(line: str) -> str:
    flat = " ".join(line.splitlines())
    return flat if len(flat) <= _LINE else flat[: _LINE - 1] + "…"
