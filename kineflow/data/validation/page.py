"""One self-contained HTML page: our summary on the first screen, Great Expectations' data docs below it.

Great Expectations' own page loads styles, scripts and fonts from eight hosts and is bare without them. Its sections
are rendered by its own renderer and templates, but into our page, which loads nothing: readable offline, in Kubeflow's
frame, and safe to open, since a content security policy forbids scripts (clip ids and labels come from outside).
"""

# mypy: disable-error-code="attr-defined"
# (Great Expectations exports its classes implicitly.)
from __future__ import annotations

import html
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

from kineflow.data.validation.checks import Severity, Validation
from kineflow.data.validation.overview import Overview
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.page_policy import PAGE_POLICY, data_uri

_CLASSES_OPEN = 24  # longer tables of classes start folded
_REJECTED_SHOWN = 50


def render_page(clip_set: ClipSet, validation: Validation, result: Any, overview: Overview | None = None) -> str:
    """The page as HTML; the same inputs give the same text.

    Args:
        clip_set: What was validated.
        validation: The verdict on it.
        result: Great Expectations' ``ExpectationSuiteValidationResult`` behind the verdict.
        overview: What the clips are like; None: that is not shown.
    """
    from great_expectations import __version__
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    document = ValidationResultsPageRenderer().render(result)
    document.sections = [section for section in document.sections if section.section_name != "Overview"]
    view = _page_view()
    lost = Counter(clip.split for clip in clip_set.clips if clip.status is not Status.OK)
    page: str = view.render(
        document,
        template="validation.html.j2",
        policy=PAGE_POLICY,
        checks=sorted(validation.checks, key=lambda check: (check.passed, check.severity is not Severity.CRITICAL)),
        validation=validation,
        overview=overview,
        splits=[
            (str(split), len(usable), lost[split], len({clip.group for clip in usable}))
            for split in Split
            if (usable := clip_set.usable(split)) or lost[split]
        ],
        rejected=[clip for clip in clip_set.clips if clip.status is not Status.OK],
        rejected_shown=_REJECTED_SHOWN,
        **_class_table(clip_set),
        failed_sections={
            outcome.expectation_config.kwargs.get("column", "Table-Level Expectations")
            for outcome in result.results
            if not outcome.success
        },
        classes_open=len(clip_set.classes) <= _CLASSES_OPEN,
        version=__version__,
    )
    return page


def _page_view() -> Any:
    """Great Expectations' view, with our templates, numbered ids and every plain text escaped."""
    from great_expectations.render.view import DefaultJinjaPageView
    from jinja2 import pass_context

    class PageView(DefaultJinjaPageView):
        @pass_context
        def render_content_block(self, context: Any, content_block: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(content_block, str):  # the original trusts it: a cell of a table, so a label or a clip id
                return html.escape(content_block)
            return super().render_content_block(context, content_block, *args, **kwargs)

    view = PageView(custom_views_directory=str(Path(__file__).parent))
    numbers = itertools.count()
    view.env.filters["uri"] = data_uri
    view.env.filters["generate_html_element_uuid"] = lambda prefix=None: f"{prefix or 'element'}-{next(numbers)}"
    return view


def _class_table(clip_set: ClipSet) -> dict[str, Any]:
    counts = Counter((label, clip.split) for clip in clip_set.usable() for label in clip.labels)
    columns = [split for split in Split if split is not Split.UNLABELLED]
    most = max((counts[name, split] for name in clip_set.classes for split in columns), default=0)
    return {
        "class_columns": [str(split) for split in columns],
        "class_rows": [(name, [counts[name, split] for split in columns]) for name in clip_set.classes],
        "class_most": max(most, 1),
    }
