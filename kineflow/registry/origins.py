"""From a registered version back to what made it: weights and their parents, clips, data, code, environment, run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.registry.aliases import CHAMPION, CLIPS_TAG, DATA_TAG, NOT_THERE, check_name, store_errors
from kineflow.serving.stored_files import WEIGHTS_TAG
from kineflow.storage.credentials import mask_uri
from kineflow.storage.errors import KineflowError
from kineflow.tracking.runs import KIND_TAG, PIPELINE_TAG
from kineflow.tracking.store import connect, tracking_uri

_CARD = "lineage."
_OF_CODE = ("git.", "source.", "kineflow.")


@dataclass(frozen=True)
class Origins:
    """What a registered version came from; an entry that nobody recorded is missing.

    Attributes:
        name, version: Of the registered model.
        weights: SHA-256 of its weights.
        evaluated: Digest of the clips and labels that it was judged on, and how many they were.
        parents: As its card says: weights it started from, its teacher, clips, flow.
        run: Of the pipeline run: ``id``, ``recipe``, ``params`` (file), ``workspace``, ``status``, ``started``.
        code: ``git.commit``, ``git.dirty``, ``source.digest``; ``kineflow.commit`` of another checkout.
        data: ``dvc.data.md5``, and the digest of each split of the clip set.
        environment: Versions and machine.
        run_id: MLflow's id of the parent run; None where there is none.
    """

    name: str
    version: str
    weights: str
    evaluated: tuple[str, int]
    parents: Mapping[str, str]
    run: Mapping[str, str]
    code: Mapping[str, str]
    data: Mapping[str, str]
    environment: Mapping[str, str]
    run_id: str | None

    def tree(self) -> str:
        """The origins as an indented text."""
        return "\n".join(_drawn(f"{self.name} version {self.version}", self._branches()))

    def _branches(self) -> dict[str, Mapping[str, str]]:
        digest, clips = self.evaluated
        return {
            "weights": {"sha256": self.weights, **self.parents},
            "judged on": {"clips": str(clips), "clips and labels": digest},
            "run": self.run,
            "code": self.code,
            "data": self.data,
            "environment": self.environment,
        }


def origins_of(name: str, version: str | None = None, alias: str = CHAMPION, *, root: Path | None = None) -> Origins:
    """Look up what a version came from.

    Args:
        name: Of the registered model.
        version: Its number; that with ``alias`` when None.
        alias: Where no version is given.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: There is no such version, or the store cannot be used.
    """
    check_name(name)
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    with store_errors(uri):
        found = _find(client, name, version, alias)
        if found is None:
            which = f"version {version}" if version else f"alias {alias!r}"
            raise KineflowError(
                f"no registered model {name!r} with {which}", where=mask_uri(uri), remedy="name a version or an alias"
            )
        step = _run(client, found.run_id)
        parent = _run(client, step.data.tags.get("mlflow.parentRunId")) if step else None
    tags = dict(found.tags)
    told = {**_environment(step), **_environment(parent)}
    return Origins(
        name,
        str(found.version),
        tags.get(WEIGHTS_TAG, ""),
        (tags.get(DATA_TAG, ""), int(tags.get(CLIPS_TAG, 0))),
        {key.removeprefix(_CARD): value for key, value in tags.items() if key.startswith(_CARD)},
        _facts_of_run(parent, tags),
        {
            key: tags[key]
            for key in sorted(tags)
            if key.startswith(("git.", "source.", "kineflow.")) and key != KIND_TAG
        },
        {**_only(tags, "dvc.data.md5"), **_datasets(parent)},
        told,
        str(parent.info.run_id) if parent else None,
    )


def kept_file(origins: Origins, name: str, folder: Path, *, root: Path | None = None) -> Path | None:
    """A file that the pipeline run kept, downloaded; None where it kept none of this name.

    Args:
        origins: Whose run.
        name: Of the file.
        folder: For the download.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: The store cannot be used.
    """
    uri = tracking_uri(root)
    if origins.run_id is None:
        return None
    client = connect(uri, must_exist=True)
    with store_errors(uri):
        if name not in {each.path for each in client.list_artifacts(origins.run_id)}:
            return None
        return Path(client.download_artifacts(origins.run_id, name, str(folder)))


def _find(client: Any, name: str, version: str | None, alias: str) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        if version is not None:
            return client.get_model_version(name, version)
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            return None
        raise


def _run(client: Any, run_id: str | None) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            return None
        raise


def _facts_of_run(parent: Any | None, tags: Mapping[str, str]) -> dict[str, str]:
    known = _only(tags, PIPELINE_TAG)
    if parent is None:
        return known
    return {**known, **_only(parent.data.tags, "recipe", "params", "workspace"), "status": str(parent.info.status),
            "mlflow": str(parent.info.run_id)}  # fmt: skip


def _environment(run: Any | None) -> dict[str, str]:
    tags = run.data.tags if run else {}
    return {key.removeprefix("env."): tags[key] for key in sorted(tags) if key.startswith("env.")}


def _datasets(run: Any | None) -> dict[str, str]:
    inputs = run.inputs.dataset_inputs if run and run.inputs else []
    versions = {}
    for each in inputs:
        facts = {tag.key: tag.value for tag in each.tags}
        versions[each.dataset.name] = facts.get("data.version", each.dataset.digest)
    return versions


def _only(tags: Mapping[str, str], *keys: str) -> dict[str, str]:
    return {key: tags[key] for key in keys if tags.get(key)}


def _drawn(title: str, branches: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield title
    for number, (name, facts) in enumerate(branches.items()):
        is_last = number == len(branches) - 1
        yield f"{'└─' if is_last else '├─'} {name}{'' if facts else ': not recorded'}"
        width = max(map(len, facts), default=0)
        for key, value in facts.items():
            yield f"{'   ' if is_last else '│  '}  {key:<{width}}  {value}"
