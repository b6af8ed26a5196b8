"""What a step that judges models leaves behind: the page, the folder of figures, and what it has to warn of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kineflow.evaluation.kept_examples import keep_examples
from kineflow.evaluation.report.findings import against_trivial, is_beaten, one_answer
from kineflow.evaluation.report.page import write_report
from kineflow.evaluation.report.strips import example_clips, wheel_key
from kineflow.evaluation.results import Evaluation, write_evaluation
from kineflow.evaluation.view_protocol import ViewProtocol
from kineflow.sets.clip_set import ClipSet, digest_of_set
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.output_files import METRICS_FILE
from kineflow.spec.scoring_protocol import ScoringProtocol
from kineflow.storage.files import atomic_folder, sha256_of
from kineflow.tracking.evaluation_tags import EVALUATED, EVALUATION_DIGEST, EVALUATION_PROTOCOL, EVALUATION_SPLIT
from kineflow.tracking.lineage import lineage_tags


def write_outputs(
    evaluation: Evaluation,
    clip_set: ClipSet,
    flow_set: FlowSet | None,
    *,
    folder: Path,
    report: Path,
    title: str,
    protocol: ScoringProtocol,
    views: ViewProtocol,
    other_views: Mapping[str, ViewProtocol] | None = None,
    version: str,
    examples: int,
    run_id: str | None,
) -> None:
    """Write the report and the folder of an evaluation, each whole or not at all.

    Args:
        evaluation: What was judged.
        clip_set, flow_set: Where its clips and their flow lie, for the examples.
        folder: Of scores, ``metrics.json`` and tables, see :mod:`kineflow.evaluation.results`.
        report: HTML file.
        title: Of the page.
        protocol: How clips were scored.
        views: Of which views the scores are.
        other_views: Those of models, by name, whose scores are of others.
        version: Of the clips, see :func:`kineflow.sets.clip_set.clips_digest`.
        examples: Clips to show, at most.
        run_id: Of the tracked run; None outside of one.
    """
    facts = {name: fact for name, fact in lineage_tags(Path()).items() if not name.startswith(("env.", "mlflow."))}
    lineage = {"clips and labels (sha256)": version, "test protocol": protocol.words, **facts}
    shown = example_clips(evaluation, clip_set, flow_set, examples)
    write_report(
        report,
        evaluation,
        title=title,
        examples=shown,
        wheel=wheel_key(),
        lineage=lineage | ({"run": run_id} if run_id else {}),
    )
    with atomic_folder(folder) as partial:
        write_evaluation(
            partial,
            evaluation,
            version=version,
            protocol=protocol,
            views=views,
            other_views=other_views,
            clip_set=digest_of_set(clip_set),
        )
        keep_examples(partial, evaluation, shown)


def tags_of(folder: Path, *, version: str, split: str, protocol: ScoringProtocol) -> dict[str, str]:
    """Tags of the step's run: what the figures that it has written into ``folder`` are of."""
    return {
        EVALUATED: version,
        EVALUATION_SPLIT: split,
        EVALUATION_PROTOCOL: protocol.words,
        EVALUATION_DIGEST: sha256_of(folder / METRICS_FILE),
    }


def warnings_of(evaluation: Evaluation) -> list[str]:
    """What whoever reads one line should know: something trivial does as well, one class gets nearly all answers, or
    whether more labels would help."""
    beaten = [against_trivial(evaluation)] if is_beaten(evaluation) else []
    labels = evaluation.label_efficiency.advice if evaluation.label_efficiency else ""
    return [*beaten, *filter(None, [one_answer(evaluation.scores_of(evaluation.student)), labels])]
