"""Runs of one recipe that belong together, by seeds or splits: one MLflow run above their parent runs.

The same command, given again, goes on with the same run: it is found by its key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kineflow.storage.project import current_project
from kineflow.storage.stopping import signals_held
from kineflow.tracking.lineage import git_tags
from kineflow.tracking.marks import Mark, marked
from kineflow.tracking.run_variables import GROUP
from kineflow.tracking.runs import ERROR_TAG, KIND_TAG, StepRun, find_or_create_experiment
from kineflow.tracking.store import connect, experiment_ids, named_failures, store_lock, tracking_uri

KEY_TAG = "kineflow.group"


@contextmanager
def run_group(
    name: str, *, key: str, experiment: str, tags: Mapping[str, str], root: Path | None = None
) -> Iterator[StepRun]:
    """Have the pipeline runs that begin within the block be children of one run, which ends as the block does.

    Args:
        name: Of the run, where it is new.
        key: Tells groups apart: letters, digits, ``-``.
        experiment: The recipe's name by custom; made when it is not there.
        tags: Facts.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: The store cannot be used, before the block is entered.
    """
    root = current_project() if root is None else root
    uri = tracking_uri(root)
    client, before = connect(uri), os.environ.get(GROUP)
    with named_failures(uri):
        with store_lock(uri):
            experiment_id = find_or_create_experiment(client, uri, experiment)
        found = client.search_runs(experiment_ids(client), f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        facts = {**git_tags(root), KEY_TAG: key, KIND_TAG: "group"}
        run = found[0] if found else client.create_run(experiment_id, run_name=name, tags=facts)
        run_id = run.info.run_id
        if ERROR_TAG in run.data.tags:
            client.delete_tag(run_id, ERROR_TAG)
        client.update_run(run_id, status="RUNNING")
    group = StepRun(client, uri, name, run_id, experiment_id)
    with ExitStack() as stack:
        stack.enter_context(marked(Mark("step", run_id), uri, root))
        os.environ[GROUP] = run_id
        try:
            group.set_tags(tags)
            yield group
        except BaseException as error:
            with signals_held():
                group.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", error)
            raise
        else:
            with signals_held():
                group.close("FINISHED", None)
        finally:
            os.environ.pop(GROUP, None)
            os.environ.update({GROUP: before} if before else {})
