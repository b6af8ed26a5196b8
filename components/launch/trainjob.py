"""Run a training step on several nodes of a cluster: as a Kubeflow TrainJob, looked after from the step's own pod.

The pod of the step (the launcher) copies the step's small inputs to the shared volume, creates the job, waits for its
conditions, shows what the first node prints, and copies the outputs back. What goes wrong, and what follows:

======================================  ================================================================================
a node finds a mistake of the user's    all nodes end, and the launcher says it, in the node's words
a training process dies                 torch's elastic launcher starts all of them again; they resume from the last
                                        checkpoint, ``max_restarts`` times
a node dies                             the job fails, is deleted, and the step fails; the engine's retry of the step
                                        creates the job anew, which resumes from the last checkpoint
the machine of a node is taken away     as above, be it by a cloud that wants it back or by Kueue for another job; Kueue
                                        starts the same job again when there is room, which resumes as well
nodes wait for machines                 that is no time of the training's; it has a limit of its own
the launcher is stopped (SIGTERM)       the job is deleted, before anything else: the container is gone within a second
… while it copies the outputs           the finished job is kept: the retried launcher only copies
the launcher dies (SIGKILL)             the retried launcher takes over the job, which has gone on meanwhile
the launcher is never retried           the run's last step deletes the job (:mod:`components.launch.orphans`), and so
                                        does Kubernetes with the run's workflow; where neither can, the nodes end by
                                        themselves within minutes (:mod:`components.launch.abandonment`)
the API server is away                  the launcher asks again until the deadline
======================================  ================================================================================

A job that ended well is deleted once its outputs are copied: they, the figures, and the log of the first node in the
launcher's own log are what it leaves, and finished jobs would pile up otherwise.

Rights that the launcher's service account needs in the namespace of the job::

    apiGroups: [trainer.kubeflow.org]  resources: [trainjobs]          verbs: [create, get, list, delete]
    apiGroups: [trainer.kubeflow.org]  resources: [trainingruntimes]   verbs: [get]
    apiGroups: [""]                    resources: [pods]               verbs: [list]    # to show states and logs,
    apiGroups: [""]                    resources: [pods/log]           verbs: [get]     # to find an owner; optional

and in the cluster (a ClusterRole)::

    apiGroups: [trainer.kubeflow.org]  resources: [clustertrainingruntimes]  verbs: [get]

The nodes' pods need no rights. Nobody needs to read secrets: pods name them, the kubelet fills them in.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.kubernetes.failures import AlreadyThereError, ApiUnavailableError
from components.kubernetes.labels import DIGEST
from components.launch.abandonment import ABANDONED_SEC, forget_abandonment, is_abandoned
from components.launch.job_folder import JobFolder
from components.launch.step_command import step_command
from components.launch.trainjob_api import TrainJobs, all_nodes_run, conditions
from components.launch.trainjob_pods import PodWatcher
from components.launch.trainjob_settings import TrainJobSettings, trainjob_settings
from components.launch.trainjob_spec import JobRequest, job_name, label
from components.launch.worker import LAUNCH, forget_mistake, raise_mistake
from kineflow.storage.credentials import mask_uri
from kineflow.storage.errors import OUT_OF_SIGHT, KineflowError
from kineflow.tracking.run_variables import RECIPE, RUN_ID

_HANDED_ON = (
    RUN_ID,
    RECIPE,
    "KINEFLOW_IMAGE",
    "KINEFLOW_DATA_VERSION",
    "KINEFLOW_GIT_COMMIT",
    "KINEFLOW_GIT_DIRTY",
    "KFP_RUN_ID",
    "MLFLOW_TRACKING_URI",
)
_SET_UP_SEC = 600  # for the server to answer, and for a predecessor's job to be gone
_CLEAN_UP_SEC = 20  # Kubernetes kills a pod 30 s after it has told it to stop
_LONGEST_PAUSE_SEC = 60.0
_RESUMES = 1  # exit code: another try goes on from the last checkpoint
_LOG = logging.getLogger("kineflow")


def run_trainjob(
    module: str, given: Mapping[str, Any], *, inputs: Sequence[str], outputs: Sequence[str], nodes: int, devices: int
) -> dict[str, float]:
    """Run a step on several nodes, and wait for it.

    Args:
        module: Of the step.
        given: Its arguments by name: paths, parameter sections as mappings, plain values.
        inputs, outputs: Which of them are paths to read, and to write.
        nodes: Pods.
        devices: Processes a pod, one a GPU where there are GPUs.

    Returns:
        The step's final figures.

    Raises:
        KineflowError: The settings do not fit, the cluster refuses the job, the job failed or took too long, or its
            outputs cannot be had. The job is gone then.
        KeyboardInterrupt: The process was told to stop (SIGTERM or Ctrl-C). The job is gone then too.
    """
    settings = trainjob_settings()
    _check_devices(settings, devices)
    step = module.rpartition(".")[2]
    run, task = _run_id(), str(given.get("name", step))
    job = job_name(run, step, task)
    folder = JobFolder(Path(settings.volume.path), label(run), job)
    with _stopping_as_interrupts():
        placed = folder.take_in(given, inputs, outputs)
        request = JobRequest(
            name=job,
            run=run,
            task=task,
            settings=settings,
            nodes=nodes,
            devices=devices,
            command=tuple(step_command(module, placed, folder.metrics)),
            environment={**_environment(settings), LAUNCH: str(folder.path)},
        )
        launcher = Launcher(TrainJobs(settings.namespace), request, folder)
        launcher.run()
        metrics = folder.hand_out(given, outputs)
        launcher.clean_up()
        folder.remove()
    return metrics


class Launcher:
    """Looks after one TrainJob, from before it is created until its end.

    Args:
        jobs: Of the namespace.
        request: What to run.
        folder: Of the job, on the volume.
    """

    def __init__(self, jobs: TrainJobs, request: JobRequest, folder: JobFolder) -> None:
        self._jobs, self._request, self._folder = jobs, request, folder
        self._pods = PodWatcher(jobs.pods, request.name)
        self._stated: dict[str, str] = {}

    @property
    def _where(self) -> str:
        return f"TrainJob {self._jobs.namespace}/{self._request.name}"

    def run(self) -> None:
        """Have the job run and end well; a job of an earlier attempt is taken over if it asks for the same.

        Raises:
            KineflowError: It did not. The job is deleted.
        """
        try:
            self._ensure()
            self._wait()
        except BaseException:
            self.clean_up()
            raise

    def clean_up(self) -> None:
        """Delete the job if there is one; say so where it cannot be done."""
        with _undisturbed():
            try:
                if self._persistently(lambda: self._jobs.delete(self._request.name), _CLEAN_UP_SEC):
                    _LOG.info("%s: deleted", self._where)
            except (KineflowError, AlreadyThereError) as trouble:
                _LOG.warning(
                    "%s was not deleted; the last step of the run does it, or it ends by itself in %.0f minutes: %s",
                    self._where,
                    ABANDONED_SEC / 60,
                    trouble,
                )

    def _ensure(self) -> None:
        """Create the job, or find that a predecessor's fits; see that one that does not is gone first."""
        name, until = self._request.name, time.monotonic() + _SET_UP_SEC
        while True:
            job = self._persistently(lambda: self._jobs.read(name), _SET_UP_SEC)
            if job is None:
                try:
                    self._persistently(self._create, _SET_UP_SEC)
                except AlreadyThereError:  # made by a request that seemed to have failed, or by another launcher
                    self._check_patience(until)
                    continue
                _LOG.info("%s: created, %d nodes", self._where, self._request.nodes)
                return
            if not _is_leaving(job):
                if self._fits(job):
                    _LOG.info("%s: taken over from an earlier attempt", self._where)
                    return
                _LOG.info("%s: deleted, it failed or does other work", self._where)
                self._persistently(lambda: self._jobs.delete(name), _SET_UP_SEC)
            self._check_patience(until)
            time.sleep(self._request.settings.poll_sec)

    def _create(self) -> None:
        request = self._request
        forget_mistake(self._folder.path)
        forget_abandonment(self._folder.path)
        self._jobs.create(
            request.settings.runtime,
            request.trainer(),
            request.options(),
            request.settings.secrets,
            self._jobs.owners(request.run),
        )

    def _fits(self, job: Mapping[str, Any]) -> bool:
        digest = (job["metadata"].get("annotations") or {}).get(DIGEST)
        is_whole = "Failed" not in conditions(job) and not is_abandoned(self._folder.path)
        return digest == self._request.digest and is_whole

    def _check_patience(self, until: float) -> None:
        if time.monotonic() > until:
            raise KineflowError(
                "a job of that name is in the way, and does not go away",
                where=self._where,
                remedy=f"look at it with: kubectl get trainjob -n {self._jobs.namespace} {self._request.name} -o yaml",
                exit_code=OUT_OF_SIGHT,
            )

    def _wait(self) -> None:
        """Return when the job is complete; time in which not all nodes run does not count towards its deadline."""
        settings = self._request.settings
        running_sec = waiting_sec = 0.0
        looked_at, failures, all_run = time.monotonic(), 0, False
        while True:
            self._folder.keep_alive()
            try:
                job = self._jobs.read(self._request.name)
                if failures:
                    _LOG.info("the Kubernetes API answers again")
                failures = 0
            except ApiUnavailableError as trouble:
                job = None
                failures += 1
                if failures == 1:
                    _LOG.warning(
                        "the Kubernetes API does not answer; the job goes on, and is asked for again: %s", trouble
                    )
            if job is None and not failures:
                raise KineflowError("it was deleted by someone else", where=self._where, exit_code=_RESUMES)
            if job and self._has_ended(conditions(job)):
                return
            now = time.monotonic()
            if all_run:
                running_sec += now - looked_at
            else:
                waiting_sec += now - looked_at
            looked_at = now
            all_run = all_nodes_run(job) if job else all_run
            self._check_deadlines(running_sec, waiting_sec)
            time.sleep(min(settings.poll_sec * 2 ** min(failures, 10), max(_LONGEST_PAUSE_SEC, settings.poll_sec)))

    def _check_deadlines(self, running_sec: float, waiting_sec: float) -> None:
        settings = self._request.settings
        if running_sec > settings.timeout_sec:
            raise KineflowError(
                f"it took longer than {settings.timeout_sec} s",
                where=self._where,
                remedy="raise timeout_sec of the step in the cluster section; a retry resumes the training",
                exit_code=_RESUMES,
            )
        if waiting_sec > settings.queue_sec:
            words = self._pods.last_words()
            raise KineflowError(
                "\n".join(filter(None, [f"its nodes have waited for machines for {settings.queue_sec} s", words])),
                where=self._where,
                remedy="ask for fewer nodes or GPUs, or raise queue_sec of the step in the cluster section",
            )

    def _has_ended(self, stated: Mapping[str, Mapping[str, str]]) -> bool:
        """Tell what changed; whether the job is complete.

        Raises:
            KineflowError: It failed.
        """
        now = {kind: condition.get("reason", "") for kind, condition in stated.items()}
        if now != self._stated:
            self._stated = now
            _LOG.info("%s: %s", self._where, ", ".join(now) or "running")
        self._pods.look()
        if "Failed" in stated or "Complete" in stated:  # nodes that found a mistake end well: it is said here
            raise_mistake(self._folder.path)
        if ("Failed" in stated or "Complete" in stated) and is_abandoned(self._folder.path):
            raise KineflowError(
                "its nodes ended, for no step had looked after them",
                where=self._where,
                remedy="a retry resumes from the last checkpoint",
                exit_code=_RESUMES,
            )
        if "Failed" in stated:
            reason, message = (stated["Failed"].get(key, "") for key in ("reason", "message"))
            words = self._pods.last_words()
            raise KineflowError(
                "\n".join(part for part in (f"the training job failed: {reason}: {message}", words) if part),
                where=self._where,
                remedy="mend what the nodes say above; a retry resumes from the last checkpoint",
                exit_code=_RESUMES,
            )
        return "Complete" in stated

    def _persistently(self, ask: Callable[[], Any], patience_sec: float) -> Any:
        """Ask until the server answers.

        Raises:
            KineflowError: It did not within ``patience_sec``.
        """
        until, pause = time.monotonic() + patience_sec, self._request.settings.poll_sec / 4
        while True:
            try:
                return ask()
            except ApiUnavailableError as trouble:
                if time.monotonic() + pause > until:
                    raise KineflowError(
                        f"the Kubernetes API has not answered for {patience_sec:.0f} s: {trouble}",
                        where=self._where,
                        exit_code=OUT_OF_SIGHT,
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SEC)


def _is_leaving(job: Mapping[str, Any]) -> bool:
    return bool(job["metadata"].get("deletionTimestamp"))


def _check_devices(settings: TrainJobSettings, devices: int) -> None:
    gpus = settings.per_node.gpus
    if gpus not in (0, devices):
        raise KineflowError(
            f"{devices} processes a node, but {gpus} GPUs",
            where="training.devices",
            remedy="give the step as many gpus in the cluster section as its training section has devices",
        )


def _run_id() -> str:
    run = os.environ.get(RUN_ID, "")
    if not label(run):
        raise KineflowError(
            "not set: it names the run that the training job belongs to",
            where=RUN_ID,
            remedy="run the step as a task of a submitted pipeline",
        )
    return run


def _environment(settings: TrainJobSettings) -> dict[str, str]:
    """Plain variables of the nodes: which run they belong to, as the launcher knows it, and those of the cluster."""
    secret = {key for keys in settings.secrets.values() for key in keys}
    known = {name: os.environ[name] for name in _HANDED_ON if os.environ.get(name)}
    plain = {name: value for name, value in {**known, **settings.environment}.items() if name not in secret}
    for name, value in plain.items():
        if mask_uri(value) != value:  # anyone who may look at the job would read it
            raise KineflowError("holds a user name and password", where=name, remedy="keep them in a Kubernetes secret")
    return plain


@contextmanager
def _stopping_as_interrupts() -> Iterator[None]:
    """Let SIGTERM, which ends a pod, stop the block as Ctrl-C does, so that it can clean up."""
    if threading.current_thread() is not threading.main_thread():  # Python handles signals there only
        yield
        return

    def stop(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}; a retry resumes from the last checkpoint")

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off further signals to stop: the block is short, and Kubernetes kills in the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {kind: signal.signal(kind, signal.SIG_IGN) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)
