"""A finished run's models, reports and figures, written to S3 for others to read.

::

    <uri>/<recipe>/<run id>/<task>/model/model.safetensors, model.json     a model: kineflow predict --model s3://…/model
    <uri>/<recipe>/<run id>/<task>/report.html, metrics.json
    <uri>/<recipe>/<run id>/evaluate/evaluation/…                           scores, figures per class
    <uri>/<recipe>/<run id>/index.json                                      what there is; written last

Clips, flow and features stay where they are.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kineflow.models.card import CARD_FILE
from kineflow.sets.clip_set import CLIPSET_FILE
from kineflow.sets.feature_set import FEATURESET_FILE
from kineflow.sets.flow_set import FLOWSET_FILE
from kineflow.spec.output_files import METRICS_FILE
from kineflow.storage.client import split_uri
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.storage.upload import upload_folder
from pipelines.engines.outcome import Outcome

RUN_INDEX_FILE = "index.json"
_HEAVY = (CLIPSET_FILE, FLOWSET_FILE, FEATURESET_FILE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def publish(outcome: Outcome, uri: str, *, recipe: str, run_id: str) -> list[str]:
    """Upload what a run has made; a run that is published again replaces itself.

    Args:
        outcome: The run's.
        uri: ``s3://bucket/prefix`` below which runs are kept.
        recipe: Its name.
        run_id: By which the tracking store knows the run.

    Returns:
        Addresses of the objects; the last is that of ``index.json``.

    Raises:
        KineflowError: The address or a name cannot be used, there is nothing to publish, or the upload failed.
    """
    split_uri(uri)
    for name in (recipe, run_id):
        if not _NAME.fullmatch(name):
            raise KineflowError(f"{name!r} cannot be part of an address", remedy="use letters, digits, '.', '_', '-'")
    files = dict(sorted(_published(outcome)))
    if not files:
        raise KineflowError("the run has made nothing to publish", where=recipe, remedy="run its recipe first")
    with tempfile.TemporaryDirectory(prefix="kineflow-publish-") as folder:
        root = Path(folder)
        for name, path in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(path.resolve())
        index = _index(files, recipe, run_id)
        (root / RUN_INDEX_FILE).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        return upload_folder(root, f"{uri.rstrip('/')}/{recipe}/{run_id}")


def _published(outcome: Outcome) -> Iterator[tuple[str, Path]]:
    """Files to publish by the name that they get."""
    for task, outputs in outcome.outputs.items():
        for path in outputs.values():
            if path.is_file():
                yield f"{task}/{path.name}", path
            elif path.is_dir() and not any((path / name).exists() for name in _HEAVY):
                for below in path.rglob("*"):
                    if below.is_file() and not any(part.startswith(".") for part in below.relative_to(path).parts):
                        yield f"{task}/{path.name}/{below.relative_to(path).as_posix()}", below
            figures = path.parent / METRICS_FILE  # of a step, beside its outputs
            if figures.is_file():
                yield f"{task}/{METRICS_FILE}", figures


def _index(files: dict[str, Path], recipe: str, run_id: str) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "run_id": run_id,
        "models": sorted(name.rpartition("/")[0] for name in files if name.endswith(f"/{CARD_FILE}")),
        "files": [
            {"path": name, "bytes": path.stat().st_size, "sha256": sha256_of(path)} for name, path in files.items()
        ],
    }
