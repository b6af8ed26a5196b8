"""The TrainJobs of a cluster: read, created and deleted."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from components.kubernetes.access import NoAccessError, pod_account, user_account
from components.kubernetes.failures import AlreadyThereError, ApiUnavailableError, translated_api_errors
from components.kubernetes.labels import KFP_RUN_LABEL, NAMESPACE, RUN_LABEL
from components.kubernetes.pods import Pods
from components.launch.trainjob_spec import NODE, label
from kineflow.storage.errors import KineflowError

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"

_REQUEST_SEC = (10, 60)  # to connect; between two bytes of the answer
_MOST_JOBS = 500
_POD_REQUEST_SEC = (5, 20)  # the job is not left alone for long for what its pods say
_LOG = logging.getLogger("kineflow")


class TrainJobs:
    """The TrainJobs of one namespace. Every method raises
    :class:`~components.kubernetes.failures.ApiUnavailableError` for what passes by itself.

    Args:
        namespace: Empty for this pod's own.

    Raises:
        KineflowError: There is no way to a cluster from here.
    """

    def __init__(self, namespace: str = "") -> None:
        from kubernetes import client

        self._configuration = _configuration()
        self._api = client.CustomObjectsApi(client.ApiClient(self._configuration))
        self.namespace = namespace or os.environ.get(NAMESPACE) or _own_namespace()
        self.pods = Pods(self._configuration, self.namespace, timeout_sec=_POD_REQUEST_SEC)

    def read(self, name: str) -> dict[str, Any] | None:
        """The job as the server holds it; None where there is none."""
        from kubernetes.client import ApiException

        with translated_api_errors(f"read the TrainJob {name}"):
            try:
                job: dict[str, Any] = self._api.get_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_REQUEST_SEC
                )
            except ApiException as error:
                if error.status == 404:
                    return None
                raise
        return job

    def names_of_run(self, run: str) -> list[str]:
        """Names of a run's jobs; none where Kubeflow Trainer is not installed."""
        from kubernetes.client import ApiException

        with translated_api_errors("list the TrainJobs of the run"):
            try:
                listed = self._api.list_namespaced_custom_object(
                    GROUP,
                    VERSION,
                    self.namespace,
                    PLURAL,
                    label_selector=f"{RUN_LABEL}={label(run)}",
                    limit=_MOST_JOBS,
                    _request_timeout=_REQUEST_SEC,
                )
            except ApiException as error:
                if error.status == 404:
                    return []
                raise
        return [str(job["metadata"]["name"]) for job in listed.get("items") or []]

    def owners(self, run: str) -> list[dict[str, str]]:
        """References to what the run's pods belong to, the run's workflow; none where no pod can be read."""
        try:
            with translated_api_errors("read the pods of the run"):
                pods = self.pods.labelled(f"{KFP_RUN_LABEL}={run}")
        except (KineflowError, ApiUnavailableError, AlreadyThereError) as trouble:
            _LOG.debug("the job belongs to nothing: %s", trouble)
            return []
        known = next((pod.owners for pod in pods if pod.owners), [])
        return [{key: str(owner[key]) for key in ("apiVersion", "kind", "name", "uid")} for owner in known[:1]]

    def delete(self, name: str) -> bool:
        """Have the job deleted, with all its pods; whether there was one."""
        from kubernetes.client import ApiException

        with translated_api_errors(f"delete the TrainJob {name}"):
            try:
                self._api.delete_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_REQUEST_SEC
                )
            except ApiException as error:
                if error.status == 404:
                    return False
                raise
        return True

    def create(
        self,
        runtime: str,
        trainer: Any,
        options: list[Any],
        secrets: Mapping[str, tuple[str, ...]],
        owners: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Create a job with Kubeflow's SDK.

        Args:
            runtime: Name of its (Cluster)TrainingRuntime.
            trainer: The SDK's ``CustomTrainerContainer``.
            options: Of the SDK.
            secrets: Keys by secret, which become variables of the training container.
            owners: References to what the job belongs to: Kubernetes deletes it when that is gone.

        Raises:
            AlreadyThereError: There is one of that name.
            KineflowError: The server refuses it, or there is no such runtime.
        """
        from kubeflow.common.types import KubernetesBackendConfig
        from kubeflow.trainer import TrainerClient

        # It warns, at length, where the version of the control plane cannot be read, which nothing here depends on.
        logging.getLogger("kubeflow").setLevel(logging.ERROR)
        with translated_api_errors(f"create a TrainJob with the runtime {runtime}"):
            sdk = TrainerClient(
                KubernetesBackendConfig(namespace=self.namespace, client_configuration=self._configuration)
            )
            sdk.backend.custom_api = _with_secrets_and_owners(self._configuration, secrets, owners)
            sdk.train(runtime=runtime, trainer=trainer, options=options)


def conditions(job: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The conditions of a job that hold, by type (``Suspended``, ``Complete``, ``Failed``)."""
    stated = (job.get("status") or {}).get("conditions") or []
    return {condition["type"]: condition for condition in stated if condition.get("status") == "True"}


def all_nodes_run(job: Mapping[str, Any]) -> bool:
    """Whether every node of a job has started: its pods wait for no machine, and no queue holds it back."""
    states = (job.get("status") or {}).get("jobsStatus") or []
    return any(state.get("ready") for state in states if state.get("name") == NODE)


def _own_namespace() -> str:
    from kubeflow.common.utils import get_default_target_namespace

    return str(get_default_target_namespace()).strip()


def _configuration() -> Any:
    """How to reach the cluster: from inside as a pod does, else as ``kubectl`` does."""
    try:
        configuration = pod_account()
    except NoAccessError:
        try:
            configuration, _ = user_account()
        except NoAccessError as error:
            raise KineflowError(
                f"no way to a Kubernetes cluster: {error}",
                remedy="run the step on the cluster, or name a kubeconfig in KUBECONFIG",
            ) from None
    configuration.retries = False  # told apart and repeated here, with pauses
    return configuration


def _with_secrets_and_owners(
    configuration: Any, secrets: Mapping[str, tuple[str, ...]], owners: Sequence[Mapping[str, str]]
) -> Any:
    """The API for custom objects that adds what the SDK cannot say to the TrainJob that it has made.

    The SDK knows no owners. Its trainer takes plain values only, and variables of the training container may be set
    nowhere else in a TrainJob: its admission webhook refuses them in runtime patches.
    """
    from kubernetes import client

    class CompletingApi(client.CustomObjectsApi):  # type: ignore[misc]  # the client is untyped
        def create_namespaced_custom_object(self, *args: Any, **options: Any) -> Any:
            body = args[-1]
            if owners:
                body["metadata"]["ownerReferences"] = [dict(owner) for owner in owners]
            body["spec"]["trainer"].setdefault("env", []).extend(
                {"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
                for name, keys in sorted(secrets.items())
                for key in keys
            )
            return super().create_namespaced_custom_object(*args, _request_timeout=_REQUEST_SEC, **options)

    return CompletingApi(client.ApiClient(configuration))
