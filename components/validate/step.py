"""The step ``validate``: bad data ends the run here, with a page that says why."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from components.contract import Input, Output, StepResult
from components.validate.params import ValidateParams
from kineflow.data.manifest import ClipSet, Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

_LOG = logging.getLogger(__name__)


def validate(
    *,
    clips: Input,
    params: ValidateParams,
    seed: int = 0,  # noqa: ARG001  of the contract; nothing here is random
    tracker: Tracker = NULL_TRACKER,  # noqa: ARG001  of the contract; there is no course of figures
    report: Output,
) -> StepResult:
    """Stop the run when the clip set would spoil it: holds it against a Great Expectations suite.

    Args:
        clips: Folder of the clip set.
        params: The limits.
        seed: Not used.
        tracker: Not used.
        report: The HTML page to write: a summary and the suite's data docs, self-contained.

    Raises:
        KineflowError: A critical check failed. ``report`` is then absent, and the page lies beside it, as
            ``<report>.failed.html``.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    from kineflow.data.validation.checks import Limits, one_line
    from kineflow.data.validation.page import render_page
    from kineflow.data.validation.suite import manifest_frame, rules, run_suite, verdict

    clip_set = ClipSet.load(clips)
    checked = rules(clip_set, Limits(**params.model_dump()))
    result = run_suite(manifest_frame(clip_set), checked)
    validation = verdict(checked, result)
    for check in validation.warnings:
        _LOG.warning("  ! %s (%s)", one_line(check), check.detail)

    page = failed_report(report) if validation.failed_critical else report
    with atomic_file(page) as partial:
        partial.write_text(render_page(clip_set, validation, result), encoding="utf-8")
    if validation.failed_critical:
        report.unlink(missing_ok=True)
        raise KineflowError(validation.message(), where=clips, remedy=f"open {page}: it shows every check and row")
    failed_report(report).unlink(missing_ok=True)

    usable = {split: len(clip_set.usable(split)) for split in Split}
    return StepResult(
        metrics={
            "checks": len(validation.checks),
            "failed_warnings": len(validation.warnings),
            "clips": sum(usable.values()),
            "clips_rejected": len(clip_set.clips) - sum(usable.values()),
            **{f"clips_{split}": count for split, count in usable.items()},
        },
        summary=f"{len(validation.checks)} checks passed"
        if not validation.warnings
        else f"{len(validation.checks) - len(validation.warnings)} of {len(validation.checks)} checks passed, "
        f"the others are warnings: see {report}",
        artifacts={"validation.html": report},
    )


def failed_report(report: Path) -> Path:
    """Where the page lies when validation failed: an engine removes the outputs of a failed step, but not this."""
    return report.with_name(f"{report.stem}.failed.html")
