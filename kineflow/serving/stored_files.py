"""Files of a registered version, taken out of the artifact store: only data, within bounds, and what was registered.

Of a stored model nothing is ever run: its bundle is downloaded (weights and JSON), held against the digests that its
version was registered with, and everything else is this package's own code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kineflow.models.bundle import weights_digest
from kineflow.models.card import CARD_FILE
from kineflow.models.remote_bundle import LARGEST_FILES
from kineflow.serving.tested import MAX_TESTED_BYTES, TESTED_FILE
from kineflow.storage.credentials import mask_uri, redact
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.tracking.store import connect, tracking_uri

WEIGHTS_TAG = "weights.sha256"
CARD_TAG = "card.sha256"
TESTED_TAG = "protocol.sha256"
"""Of a version: hashes of its bundle's weights, its ``model.json`` and ``protocol.json``, at registration."""
MODEL_PREFIX = "models:/"

ARTIFACTS = "artifacts"
"""Where MLflow keeps a model's bundle, in a model's folder."""
REGISTER_AGAIN = "register the model again, or return to another version: kineflow rollback"


@dataclass(frozen=True)
class StoredVersion:
    """A version and where its files lie.

    Attributes:
        name: Of the registered model.
        number: Of the version.
        source: URI of its files.
        store: Of the tracking store; may hold credentials.
        tags: Of the version.
    """

    name: str
    number: str
    source: str
    store: str
    tags: dict[str, str]

    @property
    def label(self) -> str:
        """For messages."""
        return f"{self.name} version {self.number}"


def find_version(uri: str, *, root: Path | None = None) -> StoredVersion:
    """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` names.

    MLflow's own look-up asks a process-wide store, which may be another one.

    Raises:
        KineflowError: There is no such version, or the store cannot be used.
    """
    from mlflow.exceptions import MlflowException

    store = tracking_uri(root)
    client = connect(store, must_exist=True)
    name, _, alias = uri.removeprefix(MODEL_PREFIX).partition("@")
    try:
        if alias:
            version = client.get_model_version_by_alias(name, alias)
        else:
            name, _, number = name.partition("/")
            if not number.isdecimal():
                raise KineflowError(
                    "names no version", where=uri, remedy="write models:/NAME@ALIAS or models:/NAME/VERSION"
                )
            version = client.get_model_version(name, number)
        return stored(client, version, store)
    except MlflowException as error:
        raise KineflowError(
            f"cannot be loaded: {redact(error.message)}",
            where=uri,
            remedy="see the registered models and their aliases in MLflow",
        ) from None


def stored(client: Any, version: Any, store: str) -> StoredVersion:
    """Where the files of a version lie."""
    source = str(client.get_model_version_download_uri(version.name, str(version.version)))
    return StoredVersion(version.name, str(version.version), source, store, dict(version.tags))


def files_of_run(run_id: str, artifact_uri: str, store: str) -> StoredVersion:
    """Where the files of a run lie, for :func:`fetch`.

    Args:
        run_id: MLflow's.
        artifact_uri: Of the run's files.
        store: URI of the tracking store.
    """
    return StoredVersion(f"run {run_id},", "none", artifact_uri, store, {})


@contextmanager
def checked_bundle(version: StoredVersion) -> Iterator[Path]:
    """Give a copy of a version's bundle, removed after the block, whose bytes are those that were registered.

    Beside it is how the version was tested (:mod:`kineflow.serving.tested`), where it was registered with that.

    Raises:
        KineflowError: The files are missing, too large or others; the version has no digests; or the disk is full.
    """
    if WEIGHTS_TAG not in version.tags:
        raise KineflowError(
            f"it has no digest of its weights (tag {WEIGHTS_TAG})",
            where=version.label,
            remedy="register models with the register step, which records what their files are",
        )
    with tempfile.TemporaryDirectory(prefix="kineflow-model-") as folder:
        bundle = Path(folder)
        _fetch_bundle(version, bundle)
        _check(version, WEIGHTS_TAG, weights_digest(bundle))
        if CARD_TAG in version.tags:  # versions of earlier releases have none
            _check(version, CARD_TAG, sha256_of(bundle / CARD_FILE))
        if TESTED_TAG in version.tags:
            tested = fetch(version, f"{ARTIFACTS}/{TESTED_FILE}", bundle, MAX_TESTED_BYTES)
            _check(version, TESTED_TAG, sha256_of(tested))
        yield bundle


def _fetch_bundle(version: StoredVersion, folder: Path) -> None:
    """Download weights and card of a version into ``folder``, whatever they are: their digests are not compared.

    Raises:
        KineflowError: They are missing, or too large; or the disk is full.
    """
    with translate_full_disk(folder):
        place = place_of_bundle(version)
        for name, most_bytes in LARGEST_FILES.items():
            fetch(version, f"{place}/{name}", folder, most_bytes)


def fetch(version: StoredVersion, path: str, folder: Path, most_bytes: int) -> Path:
    """Download one file of a version into ``folder``.

    Raises:
        KineflowError: It is missing, or larger than ``most_bytes``.
    """
    import mlflow.artifacts

    place = PurePosixPath(path)
    sizes = {name: size for name, is_folder, size in listed(version, str(place.parent)) if not is_folder}
    if place.name not in sizes:
        raise KineflowError(f"{path} is missing from its files", where=version.label, remedy=REGISTER_AGAIN)
    size = sizes[place.name]
    if size is None or size > most_bytes:
        raise KineflowError(
            f"{path} has {'an unknown number of' if size is None else size} bytes; at most {most_bytes} are read",
            where=version.label,
            remedy="check that this is a Kineflow model's",
        )
    with _named_failures(version):
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"{version.source}/{path}", dst_path=str(folder), tracking_uri=version.store
        )
    return folder / place.name


def place_of_bundle(version: StoredVersion) -> str:
    """The folder of a version's bundle among its files.

    Raises:
        KineflowError: There is none, or more than one.
    """
    folders = [name for name, is_folder, _ in listed(version, ARTIFACTS) if is_folder]
    if len(folders) != 1:
        raise KineflowError(
            "its files are missing from the artifact store" if not folders else "its files hold more than one bundle",
            where=version.label,
            remedy=REGISTER_AGAIN,
        )
    return f"{ARTIFACTS}/{folders[0]}"


def listed(version: StoredVersion, path: str) -> list[tuple[str, bool, int | None]]:
    """What lies in a folder of a version's files: name, whether it is a folder, bytes where those are known.

    Raises:
        KineflowError: The store fails.
    """
    import mlflow.artifacts

    with _named_failures(version):
        uri = version.source if path == "." else f"{version.source}/{path}"
        files = mlflow.artifacts.list_artifacts(artifact_uri=uri, tracking_uri=version.store)
    return [(PurePosixPath(file.path).name, bool(file.is_dir), file.file_size) for file in files]


@contextmanager
def _named_failures(version: StoredVersion) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a client of an artifact store raises
        reason = (redact(str(error)).strip().splitlines() or [type(error).__name__])[0]
        raise KineflowError(
            f"its files cannot be read: {reason[:300]}",
            where=f"{version.label}, {mask_uri(version.source)}",
            remedy=REGISTER_AGAIN,
        ) from None


def _check(version: StoredVersion, tag: str, found: str) -> None:
    if version.tags[tag] != found:
        raise KineflowError(
            f"its files are not those that were registered: {tag} is {found[:12]}, and {version.tags[tag][:12]} "
            "was recorded",
            where=version.label,
            remedy=f"somebody has changed the artifact store; {REGISTER_AGAIN}",
        )
