"""Exports of a registered model, kept beside its bundle: ``export/onnx`` and ``export/torch`` among its files.

The digest of each file is a tag of the version. Nothing here runs what is stored.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kineflow.exporting.formats import EXPORT_FILES, ExportFormat
from kineflow.registry.aliases import store_errors
from kineflow.serving.served_files import EXPORTS, SERVED_TAG, served_files, with_more
from kineflow.serving.tested import AsTested
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.tracking.store import connect, store_lock, tracking_uri


def export_tag(form: ExportFormat) -> str:
    """Name of a version's tag with the SHA-256 of its network in a form."""
    return f"{EXPORTS}.{form}.sha256"


@contextmanager
def exported(bundle: Path, forms: Sequence[ExportFormat], tested: AsTested | None) -> Iterator[Path]:
    """Give a folder with the exports of a model, one folder for each form; it is removed after the block.

    Raises:
        KineflowError: See :func:`kineflow.exporting.export.export_model`.
    """
    with tempfile.TemporaryDirectory(prefix="kineflow-export-") as name:
        folder = Path(name)
        if forms:
            from kineflow.exporting.export import export_model

            for form in dict.fromkeys(forms):
                export_model(bundle, folder / form, form, tested)
        yield folder


def attach_exports(name: str, version: str, exports: Path, *, root: Path | None = None) -> None:
    """Store exports with a version; forms that it has already stay as they are.

    Args:
        name: Of the registered model.
        version: Of it.
        exports: From :func:`exported`.
        root: The project's folder; the working folder when None.

    Raises:
        KineflowError: The store cannot be used, or the version is of an earlier release.
    """
    forms = [form for form in EXPORT_FILES if (exports / form).is_dir()]
    if not forms:
        return
    uri = tracking_uri(root)
    client = connect(uri)
    with store_errors(uri), store_lock(uri):
        tags = dict(client.get_model_version(name, version).tags)
        if "model_id" not in tags:
            raise KineflowError(
                "registered by an earlier release, which left no place for exports",
                where=f"{name} version {version}",
                remedy=f"leave registration.export out, and use: kineflow export models:/{name}/{version}",
            )
        for form in forms:
            if (tag := export_tag(form)) in tags:
                continue
            place = f"{EXPORTS}/{form}"
            client.log_model_artifacts(tags["model_id"], str(exports / form), place)
            if SERVED_TAG in tags:
                files = {f"{place}/{file}": digest for file, digest in served_files(exports / form).items()}
                tags[SERVED_TAG] = with_more(tags[SERVED_TAG], files)
                client.set_model_version_tag(name, version, SERVED_TAG, tags[SERVED_TAG])
            client.set_model_version_tag(name, version, tag, sha256_of(exports / form / EXPORT_FILES[form]))
