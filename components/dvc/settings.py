"""Which data is fetched, from where, to where."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from kineflow.storage.config import LocalFolder, Params
from kineflow.storage.credentials import has_credentials
from kineflow.storage.errors import KineflowError

_VERSION = re.compile(r"[0-9a-f]{32}(\.dir)?")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"]")  # would end its line in DVC's settings


def check_version(version: str) -> str:
    """The version itself.

    Raises:
        ValueError: It is no hash as DVC writes them.
    """
    if not _VERSION.fullmatch(version):
        raise ValueError("must be an md5 of DVC's: 32 hexadecimal digits, and '.dir' for a folder")
    return version


def check_remote(remote: str) -> str:
    """The remote itself.

    Raises:
        ValueError: It is empty, or no URL or path.
        KineflowError: It carries credentials; it is not repeated in the message.
    """
    if not remote or _UNSAFE.search(remote):
        raise ValueError("must be the URL or the folder of a DVC remote")
    return _without_credentials(remote)


def _without_credentials(remote: str) -> str:
    if _UNSAFE.search(remote):
        raise ValueError("must be a URL")
    if has_credentials(remote) or ("://" in remote and urlsplit(remote).query):
        # No ValueError: those are told with the value.
        raise KineflowError(
            "the URL of a remote carries credentials",
            remedy="leave them out, and keep them in the environment (AWS_…) or in ~/.aws/credentials",
        )
    return remote


class FetchDataSettings(Params):
    """Which data to fetch, from where, to where."""

    remote: Annotated[str, AfterValidator(check_remote)]
    """URL of a DVC remote (``s3://bucket/dvc``, ``ssh://host/path``, …), or a folder; without credentials."""

    version: Annotated[str, AfterValidator(check_version)]
    """DVC's md5 of the data, with ``.dir`` for a folder: what ``data.dvc`` says."""

    into: LocalFolder = Field(min_length=1)
    """Folder on a shared volume; this version comes to lie in a folder below it that is named by its md5."""

    jobs: int = Field(0, ge=0, le=256)
    """Files to fetch side by side; 0: DVC's own choice."""

    endpoint_url: Annotated[str, AfterValidator(_without_credentials)] = ""
    """Of an S3 server other than Amazon's; empty: as the environment says."""

    wait_sec: float = Field(120.0, ge=1)
    """How long another fetch of the same version may show no sign of life before this one takes over."""
