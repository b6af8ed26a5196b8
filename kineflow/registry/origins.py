"""From a registered version back to what made it: weights and their parents, clips, data, code, environment, run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.registry.aliases import CLIPS_TAG, DATA_TAG, NOT_THERE, store_errors
from kineflow.serving.stored_files import MODEL_PREFIX, WEIGHTS_TAG, StoredVersion, fetch, files_of_run, find_version
from kineflow.storage.errors import KineflowError
from kineflow.tracking.runs import KIND_TAG, PIPELINE_TAG
from kineflow.tracking.store import connect, tracking_uri

_CARD = "lineage."
_MOST_BYTES = 64 * 2**20  # of a kept file
_OF_CODE = ("git.", "source.", "kineflow.")


@dataclass(frozen=True)
class Origins:
    """What a registered version came from; an entry that nobody recorded is missing.

    Attributes:
        name, version: Of the registered model.
        weights: SHA-256 of its weights.
        evaluated: Digest of the clips and labels that it was judged on, and how many they were.
        parents: As its card says: weights it started from, its teacher, clips, flow.
        run: Of the pipeline run: ``pipeline.run_id``, ``recipe``, ``params`` (file), ``workspace``, ``status``, and
            ``mlflow``, its id there.
        code: ``git.commit``, ``git.dirty``, ``source.digest``; ``kineflow.commit`` of another checkout.
        data: ``dvc.data.md5``, and the digest of each split of the clip set.
        environment: Versions and machine.
        files: Where the files of the pipeline run lie; None where there is no such run.
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
    files: StoredVersion | None

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


def origins_of(name: str, version: str, *, root: Path | None = None) -> Origins:
    """Look up what a version came from.

    Args:
        name: Of the registered model.
        version: Its number.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: There is no such version, or the store cannot be used.
    """
    uri = tracking_uri(root)
    client = connect(uri, must_exist=True)
    tags = find_version(f"{MODEL_PREFIX}{name}/{version}", root=root).tags
    with store_errors(uri):
        step = _run(client, client.get_model_version(name, version).run_id)
        parent = _run(client, step.data.tags.get("mlflow.parentRunId")) if step else None
    return Origins(
        name,
        version,
        tags.get(WEIGHTS_TAG, ""),
        (tags.get(DATA_TAG, ""), int(tags.get(CLIPS_TAG, 0))),
        {key.removeprefix(_CARD): value for key, value in tags.items() if key.startswith(_CARD)},
        _facts_of_run(parent, tags),
        {key: tags[key] for key in sorted(tags) if key.startswith(_OF_CODE) and key != KIND_TAG},
        {**_only(tags, "dvc.data.md5"), **_datasets(parent)},
        {**_environment(step), **_environment(parent)},
        files_of_run(str(parent.info.run_id), str(parent.info.artifact_uri), uri) if parent else None,
    )


def kept_file(origins: Origins, name: str, folder: Path) -> Path | None:
    """A file that the pipeline run kept, downloaded; None where it kept none of this name, or one too large.

    Args:
        origins: Whose run.
        name: Of the file.
        folder: For the download.
    """
    if origins.files is None:
        return None
    try:
        return fetch(origins.files, name, folder, _MOST_BYTES)
    except KineflowError:
        return None


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
