"""The step ``close_run``: what a run on a cluster does last, however it ended."""

from __future__ import annotations

import dataclasses
import json
import os

from components.close_run.params import CloseRunParams
from components.contract import Output, StepResult
from kineflow.storage.errors import KineflowError


def close_run(*, params: CloseRunParams, closed: Output) -> StepResult:
    """Close the record of the run that this step belongs to: finished, or failed with the last log lines.

    Kubeflow's own word for how a run ended does not reach an exit task, so it is put together from what the steps
    have told the tracking store and from the pods that failed. The step is not part of the record that it closes.

    Args:
        params: How much of a log is kept.
        closed: JSON file to write: status, and the last words of each step that failed.

    Raises:
        KineflowError: The step is not part of a run, or the tracking store cannot be used.
    """
    from components.close_run.pods import failed_pods
    from components.frontend import RUN_ID
    from kineflow.storage.files import atomic_file
    from kineflow.tracking.closing import close_pipeline_run

    run_id = os.environ.get(RUN_ID, "")
    if not run_id:
        raise KineflowError("there is no run to close", where=RUN_ID, remedy="this step is the last one of a run")
    ended = close_pipeline_run(run_id, failed_pods(run_id, lines=params.log_lines))
    with atomic_file(closed) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(ended), indent=1) + "\n", encoding="utf-8")
    return StepResult(metrics={"failed": len(ended.failures)}, summary=str(ended))
