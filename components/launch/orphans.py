"""Training jobs that outlived the steps that looked after them.

A step that is cancelled, evicted or past its deadline is gone within a second, whatever grace its pod has: Argo signals
all its processes, Kubeflow's own ends at once, and the container with it. What it could not delete in that time is
deleted when the run ends (:func:`delete_orphans`); and jobs that nobody looks after end by themselves
(:mod:`components.launch.abandonment`).
"""

from __future__ import annotations

import logging
import os

from components.kubernetes.failures import AlreadyThereError, ApiUnavailableError
from components.kubernetes.labels import NAMESPACE
from components.launch.trainjob_api import TrainJobs
from kineflow.storage.errors import KineflowError

_LOG = logging.getLogger("kineflow")


def delete_orphans(run_id: str) -> list[str]:
    """Delete the training jobs that a run has left, and give their names; nothing away from a cluster.

    What cannot be deleted is said, and ends nothing: the run is closed all the same.
    """
    if not os.environ.get(NAMESPACE):
        return []
    deleted = []
    try:
        jobs = TrainJobs()
        for name in jobs.names_of_run(run_id):
            if jobs.delete(name):
                deleted.append(name)
                _LOG.info("TrainJob %s/%s: deleted, its step has ended", jobs.namespace, name)
    except (KineflowError, ApiUnavailableError, AlreadyThereError) as trouble:
        _LOG.warning("training jobs that the run may have left were not deleted: %s", trouble)
    return deleted
