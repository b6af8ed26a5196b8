"""What a good clip set is, as a Great Expectations suite, and its verdict.

Rejected clips are judged only on what must hold for every row (schema, ids, labels) and on their number; content,
sizes, groups and classes are judged on the usable clips, since nothing else will ever be read.

Importing this module imports Great Expectations and pandas (seconds): steps import it inside their function.
"""

# mypy: disable-error-code="attr-defined"
# (Great Expectations exports its classes implicitly.)
from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.row_conditions import Column

from kineflow.data.validation import expectations as ours
from kineflow.data.validation.checks import ROWS_SHOWN, Check, Severity, Validation
from kineflow.data.validation.content_rules import content_rules
from kineflow.data.validation.contents import CONTENT_COLUMNS, Contents
from kineflow.data.validation.rule import Rule
from kineflow.data.validation.settings import ValidationSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status

_NUMBERS = {"fps": "float", **dict.fromkeys(("frames", "width", "height", "rotation", "first_frame"), "int")}
_COLUMNS = tuple(field.name for field in dataclasses.fields(Clip))
_MEND_OTHERS = "mend what other checks found and validate again; report it if this one still cannot be evaluated"
_VALUES_NAMED = 5
_LARGEST = 1e9  # fps or pixels: anything above, infinity too, is nonsense


def rules(
    clip_set: ClipSet,
    limits: ValidationSettings,
    *,
    of_contents: bool = False,
    before: Mapping[str, Sequence[float]] | None = None,
) -> list[Rule]:
    """The suite: every rule, in the order in which a reader wants to see it.

    Args:
        clip_set: What is to be validated.
        limits: Where acceptable ends.
        of_contents: With those on what frames show.
        before: Of the last set that was accepted, see :func:`kineflow.data.validation.drift.by_group`.
    """
    critical, warning = Severity.CRITICAL, Severity.WARNING
    classes, train = list(clip_set.classes), Split.TRAIN.value
    usable = Column("status") == Status.OK.value
    labelled = [split.value for split in Split if split is not Split.UNLABELLED]
    named: tuple[str, ...] = limits.require_every_class_in
    listed = {Split.TRAIN, *(clip.split for clip in clip_set.clips)}
    required = [s for s in named if (clip_set.usable(Split.VAL) if s == Split.VAL else Split(s) in listed)]

    columns = [*_COLUMNS, *(CONTENT_COLUMNS if of_contents else ())]
    every = [
        Rule(
            "columns", "The columns are those of a clip set", critical,
            "run the ingest step again: the manifest was written by something else",
            (gxe.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=True),),
        ),
        Rule(
            "types", "Every column holds its type", critical,
            "run the ingest step again: the manifest was written by something else",
            tuple(_typed(name) for name in _COLUMNS),
        ),
        Rule(
            "clip_ids_unique", "Clip ids are unique", critical,
            "rename the files or the rows of the CSV so that no two give the same id",
            (_filled("clip_id"), gxe.ExpectColumnValuesToBeUnique(column="clip_id")),
        ),
        Rule(
            "splits_known", "Splits and states are known", critical,
            f"splits are {', '.join(Split)}; states are {', '.join(Status)}",
            (
                _filled("split"),
                gxe.ExpectColumnValuesToBeInSet(column="split", value_set=[s.value for s in Split]),
                _filled("status"),
                gxe.ExpectColumnValuesToBeInSet(column="status", value_set=[s.value for s in Status]),
            ),
        ),
        Rule(
            "labels_known", "Labels are in the class list", critical,
            "correct the label, or add the class to the list and ingest again",
            (gxe.ExpectColumnValuesToBeInSet(column="label", value_set=classes),),
        ),
        Rule(
            "labels_where_due", "Clips have a label, and unlabelled clips have none", critical,
            "label the clip, or put it in the split 'unlabelled'",
            (
                _filled("label", Column("split").is_in(labelled)),
                gxe.ExpectColumnValuesToBeNull(
                    column="label", row_condition=Column("split") == Split.UNLABELLED.value
                ),
            ),
        ),
        Rule(
            "clips_usable", "Some clips are usable", critical,
            "see the reasons of the rejected clips in the manifest",
            (gxe.ExpectColumnDistinctValuesToContainSet(column="status", value_set=[Status.OK.value]),),
        ),
        Rule(
            "files_named", "Usable clips name their file, its hash and their group", critical,
            "run the ingest step again: the manifest was written by something else",
            (
                *(_filled(name, usable) for name in ("path", "sha256", "group")),
                gxe.ExpectColumnValueLengthsToBeBetween(column="path", min_value=1, row_condition=usable),
                gxe.ExpectColumnValuesToMatchRegex(column="sha256", regex=r"^[0-9a-f]{64}$", row_condition=usable),
                gxe.ExpectColumnValueLengthsToBeBetween(column="group", min_value=1, row_condition=usable),
            ),
        ),
        Rule(
            "sizes_positive", "Rate and size are positive", critical,
            "run the ingest step again: it decodes every clip and never trusts the header",
            tuple(
                expectation
                for name in ("fps", "width", "height")
                for expectation in (
                    _filled(name, usable),
                    gxe.ExpectColumnValuesToBeBetween(
                        column=name, min_value=0, strict_min=True, max_value=_LARGEST, row_condition=usable
                    ),
                )
            ),
        ),
        Rule(
            "long_enough", f"Clips have at least {limits.min_frames} frames", critical,
            "lower validation.min_frames, or raise ingestion.min_frames so that such clips are rejected",
            (
                _filled("frames", usable),
                gxe.ExpectColumnValuesToBeBetween(column="frames", min_value=limits.min_frames, row_condition=usable),
            ),
        ),
        Rule(
            "large_enough", f"The shorter side has at least {limits.min_short_side} pixels", critical,
            "lower validation.min_short_side, or leave the small clips out",
            tuple(
                gxe.ExpectColumnValuesToBeBetween(column=name, min_value=limits.min_short_side, row_condition=usable)
                for name in ("width", "height")
            ),
        ),
        Rule(
            "content_in_one_split", "No frames of a video occur in two splits", critical,
            "keep a video, its copies and parts in one split (and one group, from which val is taken)",
            (ours.ExpectNoContentInSeveralSplits(),),
        ),
        Rule(
            "videos_in_one_split", "No video has parts in two splits", critical,
            "move them to one split, or set validation.allow_parts_in_several_splits",
            (ours.ExpectNoVideoInSeveralSplits(),),
        ),
        Rule(
            "content_under_one_label", "No content has two labels", critical,
            "one is wrong: correct it, or remove the rows of all but one copy",
            (ours.ExpectNoContentUnderSeveralLabels(),),
        ),
        Rule(
            "groups_in_one_split", "No group lies in two splits", critical,
            "move all clips of a group to one split (unlabelled ones count as train), or correct the groups",
            (ours.ExpectNoGroupInSeveralSplits(),),
        ),
        Rule(
            "classes_in_every_split", f"Every class occurs in {', '.join(required) or 'no particular split'}", critical,
            "add clips, drop the class, or shorten validation.require_every_class_in",
            (ours.ExpectEveryClassInSplits(classes=classes, splits=required),),
        ),
        Rule(
            "rejected_share", f"At most {100 * limits.max_rejected_share:g} % of the clips were rejected", critical,
            "mend or remove the files (see rejected.csv), or raise validation.max_rejected_share",
            (ours.ExpectFewClipsRejected(max_share=limits.max_rejected_share),),
        ),
        Rule(
            "none_rejected", "No clip was rejected", warning,
            "rejected clips are left out; rejected.csv beside the manifest says why",
            (ours.ExpectFewClipsRejected(max_share=0.0),),
        ),
        Rule(
            "enough_per_class", f"Classes have at least {limits.min_clips_per_class} training clips", warning,
            "collect more clips of these classes, or expect them to be learnt badly",
            (ours.ExpectClassesToHaveClips(classes=classes, split=train, minimum=limits.min_clips_per_class),),
        ),
        Rule(
            "classes_balanced", f"The largest training class has at most {limits.max_class_ratio:g} times the smallest",
            warning, "read mean class accuracy rather than top-1",
            (ours.ExpectClassesToBeBalanced(classes=classes, split=train, max_ratio=limits.max_class_ratio),),
        ),
        Rule(
            "frames_under_one_label", "Parts of a video that overlap have one label", warning,
            "what they share teaches both classes: let the parts end where the action does",
            (ours.ExpectNoFramesUnderSeveralLabels(),),
        ),
        Rule(
            "content_once_in_a_split", "No content occurs twice within a split", warning,
            "remove the copies, or set validation.allow_duplicates_within_split",
            (ours.ExpectNoContentTwiceInASplit(),),
        ),
    ]  # fmt: skip
    left_out = set()
    if not limits.min_short_side:
        left_out.add("large_enough")
    if limits.allow_duplicates_within_split:
        left_out |= {"content_once_in_a_split", "copies_once"}
    if limits.allow_parts_in_several_splits:
        left_out.add("videos_in_one_split")
    every += content_rules(classes, limits, before) if of_contents else []
    return [rule for rule in every if rule.name not in left_out]


def run_suite(clips: pd.DataFrame, checked: Sequence[Rule]) -> Any:
    """Evaluate the rules on a manifest (see :func:`manifest_frame`).

    Returns:
        Great Expectations' ``ExpectationSuiteValidationResult``; see :func:`verdict` and
        :func:`kineflow.data.validation.page.render_page`.
    """
    expectations = [
        expectation.copy(update={"severity": rule.severity.value, "meta": {"check": rule.name, "number": number}})
        for rule in checked
        for number, expectation in enumerate(rule.expectations)
    ]
    with _quiet():
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
        suite = gx.ExpectationSuite(name="clip set", expectations=expectations)
        asset = context.data_sources.add_pandas("clip set").add_dataframe_asset("manifest")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": clips})
        return batch.validate(
            suite,
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": ["clip_id"],
                "return_unexpected_index_query": False,
            },
        )


def verdict(checked: Sequence[Rule], result: Any) -> Validation:
    """Sum up a suite's result: one :class:`Check` per rule, in the rules' order."""
    by_rule: dict[str, list[Any]] = {rule.name: [] for rule in checked}
    for outcome in result.results:
        by_rule[outcome.expectation_config.meta["check"]].append(outcome)
    return Validation(tuple(_check(rule, by_rule[rule.name]) for rule in checked))


def manifest_frame(clip_set: ClipSet, contents: Contents | None = None) -> pd.DataFrame:
    """The manifest as a data frame of Python objects, so that a value of a wrong type is still seen as it is.

    Args:
        clip_set: What is to be validated.
        contents: Of its clips: columns beside those of the manifest; None: there are none.
    """
    columns = {name: [getattr(clip, name) for clip in clip_set.clips] for name in _COLUMNS}
    for name in ("split", "status"):
        columns[name] = [value.value if isinstance(value, (Split, Status)) else value for value in columns[name]]
    if contents is not None:
        columns |= {name: contents.column(name) for name in CONTENT_COLUMNS}
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _filled(column: str, when: Any = None) -> Any:
    return gxe.ExpectColumnValuesToNotBeNull(column=column, row_condition=when)


def _typed(column: str) -> Any:
    return gxe.ExpectColumnValuesToBeOfType(column=column, type_=_NUMBERS.get(column, "str"))


def _check(rule: Rule, outcomes: Sequence[Any]) -> Check:
    failed = sorted((o for o in outcomes if not o.success), key=lambda o: o.expectation_config.meta["number"])
    error = "; ".join(dict.fromkeys(filter(None, map(_error, failed))))
    rows = list(dict.fromkeys(clip_id for outcome in failed for clip_id in _offenders(outcome)))
    return Check(
        name=rule.name,
        title=rule.title,
        severity=rule.severity,
        passed=not failed and len(outcomes) == len(rule.expectations),
        observed="; ".join(filter(None, map(_observed, failed))),
        rows=tuple(rows[:ROWS_SHOWN]),
        row_count=len(rows),
        detail=_MEND_OTHERS if error else rule.detail,
        error=error,
    )


def _offenders(outcome: Any) -> list[str]:
    if "details" in outcome.result and "clip_ids" in outcome.result["details"]:
        return list(outcome.result["details"]["clip_ids"])
    return [str(row["clip_id"]) for row in outcome.result.get("unexpected_index_list") or []]


def _observed(outcome: Any) -> str:
    result, column = outcome.result, outcome.expectation_config.kwargs.get("column")
    if "unexpected_count" in result:
        values = list(dict.fromkeys(map(repr, result["unexpected_list"])))
        more = ", …" if len(values) > _VALUES_NAMED else ""
        return f"{column} {', '.join(values[:_VALUES_NAMED])}{more}" if values else f"{column} empty"
    if "mismatched" in result.get("details", {}):
        return "; ".join(
            f"{kind} {', '.join(map(str, names))}" for kind, names in result["details"]["mismatched"].items()
        )
    return str(result.get("observed_value", ""))


def _error(outcome: Any) -> str:
    """What went wrong in the check itself: one exception, or one for each metric that could not be computed."""
    info = outcome.exception_info
    failures = [info] if "raised_exception" in info else info.values()
    return "; ".join(dict.fromkeys(f["exception_message"] for f in failures if f["raised_exception"]))


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # its modules set levels of their own, which a level on its root does not reach
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
