"""The parent run of a pipeline run, told so that it is understood without its steps: in MLflow people compare parents.

Its steps add their figures, clips, pages and models while they run (:mod:`kineflow.tracking.runs`); what only the whole
knows comes here, in the end.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kineflow.storage.credentials import redact
from kineflow.tracking.runs import StepRun, parents_of
from kineflow.tracking.store import connect, experiment_ids, tracking_uri, unreachable

NOTE_TAG = "mlflow.note.content"
"""Shown by MLflow as the description of a run, as Markdown."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParentRecord:
    """What a pipeline run as a whole knows of itself.

    Attributes:
        params: Sections of the parameter file; nested names become dotted.
        tags: Facts that are not figures.
        texts: Files to keep, by name.
        description: Markdown; empty for none.
    """

    params: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


def record_parent(pipeline_run_id: str, made: Callable[[], ParentRecord], *, root: Path | None = None) -> None:
    """Add to the record of a pipeline run; nothing happens where no step has opened one (all were up to date).

    Whatever fails here is said, and ends nothing: the work is done.

    Args:
        pipeline_run_id: Names the run for all its steps.
        made: Gives what to add, where there is a record; credentials in it are hidden.
        root: The project's folder; the working folder when None.
    """
    uri = tracking_uri(root)
    try:
        client = connect(uri)
        for parent in parents_of(client, experiment_ids(client), pipeline_run_id):
            record, info = made(), parent.info
            run = StepRun(client, uri, str(info.run_name), str(info.run_id), str(info.experiment_id))
            run.set_tags({**record.tags, **({NOTE_TAG: record.description} if record.description else {})})
            with tempfile.TemporaryDirectory() as folder:
                for name, text in record.texts.items():
                    file = Path(folder) / name
                    file.write_text(redact(text), encoding="utf-8")
                    run.log_artifact(file)
            run.log_params(record.params)  # last: a run that goes on with other parameters keeps its first ones
    except Exception as error:  # a store can fail in any way
        _LOG.warning("%s\n  The record of this run lacks its parameters or description.", unreachable(uri, error))


def link_model(client: Any, run_id: str, model_id: str) -> None:
    """Show a model among the outputs of the pipeline run that a step belongs to."""
    from mlflow.entities import LoggedModelOutput

    parent = client.get_run(run_id).data.tags.get("mlflow.parentRunId")
    if parent:
        client.log_outputs(parent, [LoggedModelOutput(model_id, 0)])
