"""The step ``validate``: bad data ends the run here, with a page that says why."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from components.frontend.command import command
from components.frontend.contract import DatasetInput, HtmlOutput, MeasuredResult, StepResult
from kineflow.data.validation.settings import ValidationSettings
from kineflow.sets.clip_set import ClipSet, digest_of_set
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.tracking.validation_tags import ACCEPTED, GREEN, VALIDATED_SET, VALIDATION_OUTCOME

_LOG = logging.getLogger(__name__)


def validate(
    *,
    clips: DatasetInput,
    params: ValidationSettings,
    report: HtmlOutput,
) -> MeasuredResult:
    """Stop the run when the clip set would spoil it.

    It is held against a suite of Great Expectations, its clips against each other and against the last set that was
    accepted, of which a small file beside ``report`` tells.

    Args:
        clips: Folder of the clip set.
        params: The limits.
        report: The HTML page to write: a summary and the suite's data docs, self-contained.

    Raises:
        KineflowError: A critical check failed. ``report`` is then absent, and the page lies beside it, as
            ``<report>.failed.html``.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    from kineflow.data.kept_contents import kept_file
    from kineflow.data.validation.accepted import Accepted, accepted_file, read_accepted, write_accepted
    from kineflow.data.validation.checks import one_line
    from kineflow.data.validation.contents import look_at_contents
    from kineflow.data.validation.drift import by_group
    from kineflow.data.validation.overview import overview_of
    from kineflow.data.validation.page import render_page
    from kineflow.data.validation.suite import manifest_frame, rules, run_suite, verdict

    clip_set = ClipSet.load(clips, with_unknown_labels=True)
    contents = None
    if params.look_at_contents:
        contents = look_at_contents(clip_set, correlation=params.copy_correlation, kept=kept_file(report))
    digest, accepted = digest_of_set(clip_set), read_accepted(accepted_file(report))
    before = [each for each in accepted if each.clips != digest][:1]
    checked = rules(clip_set, params, of_contents=contents is not None, before=before[0].quantities if before else None)
    frame = manifest_frame(clip_set, contents)
    result = run_suite(frame, checked)
    validation = verdict(checked, result)
    for check in validation.warnings:
        _LOG.warning("  ! %s (%s)", one_line(check), check.detail)

    overview = overview_of(clip_set, most_looked_at=params.looked_at, contents=contents)
    page = failed_report(report) if validation.failed_critical else report
    with atomic_file(page) as partial:
        partial.write_text(render_page(clip_set, validation, result, overview), encoding="utf-8")
    if validation.failed_critical:
        report.unlink(missing_ok=True)
        remedy = f"open {page.absolute()}: it shows every check and row"
        raise KineflowError(validation.message(), where=clips, remedy=remedy)
    failed_report(report).unlink(missing_ok=True)
    if contents is not None:
        quantities = by_group(frame[frame["status"] == Status.OK.value])
        if all(quantities.values()):  # against frames that nobody could read, nothing is to be held
            write_accepted(accepted_file(report), [Accepted.of(digest, quantities), *before])

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
        tags={VALIDATED_SET: digest, VALIDATION_OUTCOME: ACCEPTED if validation.warnings else GREEN},
    )


def failed_report(report: Path) -> Path:
    """Where the page lies when validation failed: an engine removes the outputs of a failed step, but not this."""
    return report.with_name(f"{report.stem}.failed.html")


if __name__ == "__main__":
    command(validate)
