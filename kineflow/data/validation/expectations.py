"""The findings as Great Expectations: one class each, which names the finding and its arguments.

Importing this module imports Great Expectations (seconds) and registers the classes with it; only
:mod:`kineflow.data.validation.suite` does.
"""

# mypy: disable-error-code="attr-defined"
# (Great Expectations exports its classes implicitly.)
from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.render import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer

from kineflow.data.validation import findings
from kineflow.data.validation.findings import Finding

_CLIPS = "table.clips"


class Clips(TableMetricProvider):
    """The manifest itself, as the metric on which all expectations here depend."""

    metric_name = _CLIPS

    @metric_value(engine=PandasExecutionEngine)
    def _pandas(
        cls,  # noqa: N805  the decorator makes a class method of it
        execution_engine: Any,
        metric_domain_kwargs: dict[str, Any],
        **_: Any,
    ) -> pd.DataFrame:
        clips, _, _ = execution_engine.get_compute_domain(metric_domain_kwargs, domain_type=MetricDomainTypes.TABLE)
        return clips


class FindsNothing(BatchExpectation):
    """Base: the finding over the usable clips must be empty."""

    metric_dependencies: ClassVar[tuple[str, ...]] = (_CLIPS,)

    def find(self, clips: pd.DataFrame) -> Finding:
        """What is wrong with the usable ``clips``."""
        raise NotImplementedError

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        finding = self.find(metrics[_CLIPS])
        result = {"observed_value": finding.observed or "none", "details": {"clip_ids": list(finding.clip_ids)}}
        return {"success": not finding.observed, "result": result}

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)
    def _prescriptive_renderer(
        cls,
        configuration: Any = None,
        result: Any = None,  # noqa: ARG003
        runtime_configuration: Any = None,  # noqa: ARG003
    ) -> list[RenderedStringTemplateContent]:
        """The sentence in the data docs: the class's own, with its figures."""
        given = configuration.kwargs if configuration else {}
        figures = {key: value for key, value in given.items() if isinstance(value, int | float)}
        listed_figures = ", ".join(f"{key} ${key}" for key in figures)
        sentence = (cls.__doc__ or "").strip() + (f" ({listed_figures})" if listed_figures else "")
        template = {"template": sentence, "params": figures}
        return [RenderedStringTemplateContent(content_block_type="string_template", string_template=template)]


class ExpectNoGroupInSeveralSplits(FindsNothing):
    """Clips cut from one source lie in one split."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.groups_in_several_splits`."""
        return findings.groups_in_several_splits(usable(clips))


class ExpectNoContentInSeveralSplits(FindsNothing):
    """No frames of a video file, by its bytes, occur in two splits: neither the whole nor parts that overlap."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.contents_in_several_splits`."""
        return findings.contents_in_several_splits(usable(clips))


class ExpectNoContentUnderSeveralLabels(FindsNothing):
    """The same bytes have one label."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.contents_under_several_labels`."""
        return findings.contents_under_several_labels(usable(clips))


class ExpectNoFramesUnderSeveralLabels(FindsNothing):
    """Parts of a video that overlap have one label."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.frames_under_several_labels`."""
        return findings.frames_under_several_labels(usable(clips))


class ExpectNoVideoInSeveralSplits(FindsNothing):
    """All parts of a video file, by its bytes, lie in one split."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.videos_in_several_splits`."""
        return findings.videos_in_several_splits(usable(clips))


class ExpectNoContentTwiceInASplit(FindsNothing):
    """The same bytes do not occur twice within a split."""

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.contents_twice_in_a_split`."""
        return findings.contents_twice_in_a_split(usable(clips))


class ExpectEveryClassInSplits(FindsNothing):
    """Each class has a clip in each of the given splits."""

    classes: list[str]
    splits: list[str]
    success_keys: ClassVar[tuple[str, ...]] = ("classes", "splits")

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.classes_missing`."""
        return findings.classes_missing(usable(clips), classes=self.classes, splits=self.splits)


class ExpectClassesToHaveClips(FindsNothing):
    """Each class that occurs in the split has enough clips there."""

    classes: list[str]
    split: str
    minimum: int
    success_keys: ClassVar[tuple[str, ...]] = ("classes", "split", "minimum")

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.classes_below`."""
        return findings.classes_below(usable(clips), classes=self.classes, split=self.split, minimum=self.minimum)


class ExpectClassesToBeBalanced(FindsNothing):
    """The biggest class of the split is not too many times the smallest."""

    classes: list[str]
    split: str
    max_ratio: float
    success_keys: ClassVar[tuple[str, ...]] = ("classes", "split", "max_ratio")

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.classes_unbalanced`."""
        return findings.classes_unbalanced(
            usable(clips), classes=self.classes, split=self.split, max_ratio=self.max_ratio
        )


class ExpectFewClipsRejected(FindsNothing):
    """At most max_share of all clips were rejected on ingest."""

    max_share: float
    success_keys: ClassVar[tuple[str, ...]] = ("max_share",)

    def find(self, clips: pd.DataFrame) -> Finding:
        """See :func:`findings.rejected`; looks at all clips."""
        return findings.rejected(clips, max_share=self.max_share)


def usable(clips: pd.DataFrame) -> pd.DataFrame:
    """Clips that were not rejected."""
    return clips[clips["status"] == "ok"]
