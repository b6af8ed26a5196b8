"""The step ``close_run``: what a run on a cluster does last, however it ended."""

from __future__ import annotations

import dataclasses
import json
import os

from components.frontend.command import command
from components.frontend.contract import FileOutput, StepResult, UntrackedResult
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import parse_json
from kineflow.tracking.closing_settings import CloseRunSettings
from kineflow.tracking.run_variables import PARAMS, RECIPE, RUN_ID


def close_run(*, params: CloseRunSettings, closed: FileOutput) -> UntrackedResult:
    """Delete what the run left running; close its record, with its parameters and the last log lines of what failed.

    Kubeflow's own word for how a run ended does not reach an exit task, so it is put together from what the steps
    have told the tracking store and from the pods that failed. The step is not part of the record that it closes.
    Where ``KINEFLOW_WEBHOOK_SECRET`` holds the address of a webhook, people are told.

    Args:
        params: How much of a log is kept.
        closed: JSON file to write: status, the last words of each step that failed, and what was registered.

    Raises:
        KineflowError: The step is not part of a run, or the tracking store cannot be used.
    """
    from components.frontend.attempts import forget_mistakes
    from components.kubernetes.ended_pods import ended_pods
    from components.launch.kept_work import remove_kept_work
    from components.launch.orphans import delete_orphans
    from kineflow.storage.files import atomic_file
    from kineflow.tracking.closing import close_pipeline_run
    from kineflow.tracking.message import message_of, tell
    from kineflow.tracking.parent import ParentRecord, record_parent

    run_id = os.environ.get(RUN_ID, "")
    if not run_id:
        raise KineflowError("there is no run to close", where=RUN_ID, remedy="this step is the last one of a run")
    delete_orphans(run_id)
    if submitted := os.environ.get(PARAMS):
        params_of_run = parse_json(submitted)
        record_parent(run_id, lambda: ParentRecord(params_of_run, {"recipe": os.environ.get(RECIPE, "")}))
    pods = ended_pods(run_id, lines=params.log_lines)
    ended = close_pipeline_run(run_id, pods.last_words, ended_well=pods.ended_well, failed_at=pods.failed_at)
    if ended.status == "FINISHED":
        remove_kept_work(run_id)
    with atomic_file(closed) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(ended), indent=1) + "\n", encoding="utf-8")
    forget_mistakes()
    tell(message_of(os.environ.get(RECIPE, "kineflow"), run_id, ended))
    return StepResult(metrics={"failed": len(ended.failures)}, summary=str(ended))


if __name__ == "__main__":
    command(close_run)
