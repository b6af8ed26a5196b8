"""The client for S3 servers, and their failures as errors that a user can act on.

Endpoint, region, addressing style and credentials come from where boto3's users keep them: the environment
(``AWS_ENDPOINT_URL_S3``, ``AWS_PROFILE``, …), ``~/.aws/config``, ``~/.aws/credentials``, or the role of the machine.
Nothing here prints or stores a credential.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from kineflow.storage.credentials import has_credentials
from kineflow.storage.errors import MISTAKE, OUT_OF_SIGHT, KineflowError

S3_SCHEME = "s3://"
ADDRESSING_STYLE = "KINEFLOW_S3_ADDRESSING_STYLE"
"""Environment variable: ``auto``, ``path`` (bucket in the path, as most servers but Amazon's want) or ``virtual``."""

_ALSO_DECIDING = (ADDRESSING_STYLE, "HOME")
_STYLES = ("auto", "path", "virtual")
_ATTEMPTS = 5
_TIMEOUT_SEC = 60
_CONNECTIONS = 32
_SERVER_ERROR, _TOO_MANY_REQUESTS = 500, 429
_PASSING = ("SlowDown", "RequestTimeout", "ExpiredToken", "RequestTimeTooSkewed")
_ABSENT = {
    "404": "no such object or bucket",
    "NoSuchKey": "no such object",
    "NoSuchBucket": "no such bucket",
}


def s3_client(endpoint_url: str = "") -> Any:
    """The boto3 client of this process; every call with the same settings gives the same one.

    Clients may be shared between threads but not across ``fork``: ask for the client where it is used instead of
    keeping it, and a forked worker gets its own.

    Args:
        endpoint_url: Of an S3 server, before all other places that may name one; empty for those, and then Amazon's.

    Raises:
        KineflowError: The endpoint, the addressing style or the profile cannot be used.
    """
    deciding = {key: value for key, value in os.environ.items() if key.startswith("AWS_") or key in _ALSO_DECIDING}
    return _client(os.getpid(), endpoint_url, tuple(sorted(deciding.items())))


@functools.lru_cache(maxsize=8)
def _client(process: int, endpoint_url: str, environment: tuple[tuple[str, str], ...]) -> Any:  # noqa: ARG001, the key
    import boto3
    from botocore.config import Config

    if endpoint_url:
        _check_endpoint(endpoint_url)
    attempts = {} if "AWS_MAX_ATTEMPTS" in os.environ else {"total_max_attempts": _ATTEMPTS}
    config = Config(
        retries={"mode": "standard", **attempts},
        connect_timeout=_TIMEOUT_SEC,
        read_timeout=_TIMEOUT_SEC,
        max_pool_connections=_CONNECTIONS,
    )
    if style := os.environ.get(ADDRESSING_STYLE, ""):
        if style not in _STYLES:
            raise KineflowError(
                f"{ADDRESSING_STYLE} is {style!r}", where="environment", remedy=f"set it to one of {', '.join(_STYLES)}"
            )
        config = config.merge(Config(s3={"addressing_style": style}))
    with translate_s3_failures(endpoint_url or "S3"):
        try:
            # The default session is not safe to share between threads; one of its own is.
            return boto3.session.Session().client("s3", endpoint_url=endpoint_url or None, config=config)
        except ValueError as error:  # an endpoint in the environment or the profile that is no URL
            raise KineflowError(
                f"the S3 settings cannot be used ({type(error).__name__})",
                where="environment or ~/.aws/config",
                remedy="write the endpoint as http://host:port or https://host",
            ) from None


def _check_endpoint(url: str) -> None:
    if has_credentials(url):
        raise KineflowError(
            "credentials in the address of an S3 server end up in logs",
            where="endpoint_url",
            remedy="leave them out; put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials",
        )
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise KineflowError(
            f"no address of an S3 server: {url!r}",
            where="endpoint_url",
            remedy="write http://host:port or https://host",
        )


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix; may be empty, never begins or ends with ``/``) of ``s3://bucket/key``.

    Raises:
        KineflowError: It is no S3 address, names no bucket, or carries credentials.
    """
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    if "@" in bucket or has_credentials(uri):  # not shown: it may be a password
        raise KineflowError("credentials in an S3 address", remedy="leave them out; put them into the environment")
    if not uri.startswith(S3_SCHEME) or not bucket:
        raise KineflowError("an S3 address names a bucket", where=uri, remedy="write s3://bucket/prefix")
    return bucket, key.strip("/")


@contextmanager
def translate_s3_failures(where: str) -> Iterator[None]:
    """Turn the failures of boto3 into errors that name ``where``, and never show a credential.

    Raises:
        KineflowError: The block failed: the server refused or did not answer, or the settings are incomplete.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound

    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error) as error:
        # boto3's transfers wrap what the server said into an error of their own.
        cause = error.__context__ if isinstance(error, Boto3Error) and error.__context__ else error
        if isinstance(cause, ClientError):
            raise _refusal(cause, where) from None
        if isinstance(cause, NoCredentialsError | ProfileNotFound):
            problem = "no S3 credentials" if isinstance(cause, NoCredentialsError) else "no such AWS profile"
            raise KineflowError(
                problem,
                where=where,
                remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to one in ~/.aws/credentials",
            ) from None
        raise KineflowError(
            f"S3 failed: {type(cause).__name__}",
            where=where,
            remedy="check endpoint_url, the network and the credentials (environment or ~/.aws), and run again",
            exit_code=OUT_OF_SIGHT,
        ) from None


def _refusal(error: Any, where: str) -> KineflowError:
    code = error.response.get("Error", {}).get("Code", "unknown")
    explanation = f" ({_ABSENT[code]})" if code in _ABSENT else ""
    return KineflowError(
        f"the S3 server refused: {code}{explanation}",
        where=where,
        remedy="check the bucket, the key and your access to it",
        exit_code=OUT_OF_SIGHT if _may_pass(error) else MISTAKE,
    )


def _may_pass(error: Any) -> bool:
    """Whether the server could not, or not now; a token that has run out is made anew."""
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS or code in _PASSING
