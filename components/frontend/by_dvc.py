"""A stage that DVC runs by itself (``dvc repro``, ``dvc exp run``): it is part of a pipeline run too, and compared.

Nobody starts or ends such a run. Its name is made of what it is about to do, so that all of its stages find the same
parent, which each of them completes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.dvc.workspace_files import DIGESTS_FILE, DVC_FILE, KEPT_AS, LEFT_OUT, OUTPUTS, recipe_of
from components.frontend.contract import Signature, load_step
from components.frontend.inputs import local_inputs, places_read
from kineflow.spec.output_files import METRICS_FILE
from kineflow.storage.config import parse_params, read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.storage.stopping import signals_held
from kineflow.tracking.evaluation_tags import EVALUATION_DIGEST
from kineflow.tracking.lineage import DATA_VERSION, version_of_inputs
from kineflow.tracking.run_variables import RUN_ID

STAGE, EXPERIMENT = "DVC_STAGE", "DVC_EXP_NAME"
"""Environment variables of DVC's."""


@dataclass(frozen=True)
class RunByDvc:
    """A pipeline run that DVC makes.

    Attributes:
        id: Of the pipeline run.
        recipe: Its name.
        folder: Of ``dvc.yaml``.
        params: Checked sections of the parameter file, as the stages name them.
        params_file: Its path, as the stages name it.
        data_version: Of what it reads, see :func:`kineflow.tracking.lineage.version_of_inputs`.
    """

    id: str
    recipe: str
    folder: Path
    params: Mapping[str, Any]
    params_file: Path
    data_version: str

    @contextmanager
    def kept(self, given: Mapping[str, Any], root: Path) -> Iterator[None]:
        """Close the record as the stage in the block ends, however it does, with what is known by then.

        Args:
            given: Arguments of the stage's step.
            root: The project's folder.
        """
        from kineflow.tracking.closing import status_of_steps
        from kineflow.tracking.marks import Mark, marked
        from kineflow.tracking.parent import record_parent
        from kineflow.tracking.runs import RunStatus, end_pipeline_run
        from kineflow.tracking.store import prepare_store, tracking_uri

        status: RunStatus = "FAILED"
        uri = prepare_store(tracking_uri(root))  # a store that has moved is left as it is while a run is marked
        with marked(Mark("pipeline", self.id), uri, root), _variable(DATA_VERSION, self.data_version):
            try:
                yield
                status = "FINISHED"
            except KeyboardInterrupt:
                status = "KILLED"
                raise
            finally:
                with signals_held(), suppress(KineflowError):  # a store out of use ends no step that has begun
                    record_parent(self.id, lambda: self._record(given, root), root=root)
                    of_all = status_of_steps(self.id, root=root) if status == "FINISHED" else status
                    end_pipeline_run(self.id, of_all, root=root)

    def _record(self, given: Mapping[str, Any], root: Path) -> Any:
        from kineflow.tracking.parent import ParentRecord

        tags = {
            "recipe": self.recipe, "params": str(self.params_file), "workspace": os.path.relpath(self.folder, root),
        }  # fmt: skip
        judged = given.get("evaluation")
        if isinstance(judged, Path) and (judged / METRICS_FILE).is_file():
            tags[EVALUATION_DIGEST] = sha256_of(judged / METRICS_FILE)
        files = {"params.yaml": self.params_file, **{kept: self.folder / name for name, kept in KEPT_AS.items()}}
        texts = {name: path.read_text(encoding="utf-8") for name, path in files.items() if path.is_file()}
        return ParentRecord(self.params, tags, texts, f"`dvc repro {tags['workspace']}/{DVC_FILE}`, or `dvc exp run`")


def run_by_dvc(written: Path, root: Path) -> RunByDvc | None:
    """The pipeline run that this process is a stage of; None where it is of none, or where ``kineflow run`` is at work.

    Args:
        written: Folder of the stage's outputs.
        root: The project's folder.

    Raises:
        KineflowError: ``dvc.yaml`` or the parameter file cannot be read.
    """
    folder = written.resolve().parent.parent
    if os.environ.get(RUN_ID) or not os.environ.get(STAGE) or written.resolve().parent.name != OUTPUTS:
        return None
    recipe = recipe_of(folder)
    if recipe is None:
        return None
    params: dict[str, Any] = {}
    read: set[str] = set()
    params_file = Path()
    for stage in read_yaml(folder / DVC_FILE).get("stages", {}).values():
        command = shlex.split(stage["cmd"])
        signature = _signature(command)
        for params_file, name, key in _keys(command, signature):
            params[key] = _checked(signature, name, read_yaml(params_file).get(key), key)
            read.update(local_inputs(signature.sections.get(name, object), params[key]))
        for name, key in stage.get("meta", {}).get(LEFT_OUT, {}).items():
            params[key] = _checked(signature, name, signature.defaults.get(name, {}), key)
    version = version_of_inputs(root, places_read(params["ingestion"]) if "ingestion" in params else ())
    facts = [
        (folder / DVC_FILE).read_text(encoding="utf-8"), (folder / DIGESTS_FILE).read_text(encoding="utf-8"),
        json.dumps(params, sort_keys=True), os.environ.get(EXPERIMENT, ""), version,
        *(f"{file} {sha256_of(root / file)}" for file in sorted(read) if (root / file).is_file()),
    ]  # fmt: skip
    digest = hashlib.sha256("\0".join(facts).encode()).hexdigest()
    return RunByDvc(digest[:12], recipe, folder, params, params_file, version)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Have an environment variable set as long as the block lasts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ |= {name: before} if before is not None else {}


def _signature(command: list[str]) -> Signature:
    """Of the step that ``python -m MODULE …`` runs."""
    try:
        return Signature.of(load_step(command[2]))
    except (ImportError, AttributeError) as error:
        raise KineflowError(f"{shlex.join(command[:3])} is no step: {error}", where=Path(DVC_FILE)) from None


def _keys(command: list[str], signature: Signature) -> Iterator[tuple[Path, str, str]]:
    """File, argument and key of each parameter that a stage's command reads from a file."""
    for flag, text in itertools.pairwise(command[3:]):
        path, _, key = text.rpartition(":")
        name = flag.removeprefix("--").replace("-", "_")
        is_parameter = name in signature.sections or name in signature.values
        if flag.startswith("--") and is_parameter and path.endswith((".yaml", ".yml")):
            yield Path(path), name, key


def _checked(signature: Signature, name: str, value: Any, key: str) -> Any:
    kind = signature.sections.get(name)
    if kind is None or not isinstance(value, Mapping):
        return value
    return parse_params(kind, value, where=key).model_dump(mode="json", exclude_none=True)
