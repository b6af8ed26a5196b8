"""A model's bundle wherever it lies: in a folder, or below ``s3://bucket/prefix``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kineflow.models.bundle import WEIGHTS_FILE
from kineflow.models.card import CARD_FILE
from kineflow.storage.client import S3_SCHEME, s3_client, split_uri, translate_s3_failures
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from kineflow.storage.upload import SHA256_KEY

LARGEST_FILES = {CARD_FILE: 2**20, WEIGHTS_FILE: 8 * 2**30}
"""Most bytes of each file of a bundle that are downloaded; the largest network here has about 0.6 GB."""


@contextmanager
def local_bundle(location: str) -> Iterator[Path]:
    """Give the folder of a bundle; one on S3 is downloaded to a temporary folder, which is removed after the block.

    Nothing of what was downloaded is trusted: use :func:`kineflow.models.bundle.load_bundle` as with any folder.

    Args:
        location: A folder, or ``s3://bucket/prefix``.

    Raises:
        KineflowError: The server does not answer or refuses, a file of the bundle is missing, too large, or not what
            was uploaded; or the disk is full.
    """
    if not location.startswith(S3_SCHEME):
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="kineflow-model-") as folder:
        for name, most_bytes in LARGEST_FILES.items():
            _download(f"{location.rstrip('/')}/{name}", Path(folder) / name, most_bytes)
        yield Path(folder)


def _download(uri: str, path: Path, most_bytes: int) -> None:
    bucket, key = split_uri(uri)
    with translate_s3_failures(uri), translate_full_disk(path.parent):
        client = s3_client()
        head = client.head_object(Bucket=bucket, Key=key)
        if head["ContentLength"] > most_bytes:
            raise KineflowError(
                f"an object of {head['ContentLength']} bytes; at most {most_bytes} are read",
                where=uri,
                remedy="check that this is a Kineflow model's",
            )
        client.download_file(bucket, key, str(path))
    digest = head["Metadata"].get(SHA256_KEY)
    if path.stat().st_size != head["ContentLength"] or (digest and sha256_of(path) != digest):
        raise KineflowError(
            "not what was uploaded", where=uri, remedy="try again; if that does not help, publish again"
        )
