"""Where the Kubeflow Pipelines API is, and how we prove who we are: address, bearer token, certificates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from kineflow.storage.errors import KineflowError

HOST_VARIABLE = "KF_PIPELINES_ENDPOINT"
UI_VARIABLE = "KF_PIPELINES_UI_ENDPOINT"
TOKEN_VARIABLE = "KF_PIPELINES_TOKEN"
TOKEN_PATH_VARIABLE = "KF_PIPELINES_TOKEN_PATH"
POD_TOKEN_PATH_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where Kubeflow puts a notebook's token for its API, unless the variable before names another file."""
COOKIE_VARIABLE = "KF_PIPELINES_COOKIE"
CA_VARIABLE = "SSL_CERT_FILE"

_MOST_TOKEN_BYTES = 1 << 16


@dataclass(frozen=True)
class Token:
    """A bearer token and where it can be read again, or a session's cookie; no representation of this object has them.

    Attributes:
        path: File that holds it; None where it was given in the environment.
        value: The token; empty for none.
        cookie: Of a session that a browser has opened with a proxy, as ``name=value``; empty for none.
    """

    path: Path | None = None
    value: str = field(default="", repr=False)
    cookie: str = field(default="", repr=False)

    @classmethod
    def find(cls, token_file: Path | None, environment: Mapping[str, str]) -> Token:
        """The first that there is: ``--token-file``, ``KF_PIPELINES_TOKEN_PATH``, ``KF_PIPELINES_TOKEN``, a notebook's.

        Raises:
            KineflowError: The file cannot be read, or holds no token; or the cookie is none.
        """
        cookie = _cookie(environment.get(COOKIE_VARIABLE, ""))
        named = environment.get(TOKEN_PATH_VARIABLE)
        path = token_file or (Path(named) if named else None)
        if path is None and (value := _clean(environment.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE)):
            return cls(None, value, cookie)
        if path is None and (of_the_pod := environment.get(POD_TOKEN_PATH_VARIABLE)):
            path = Path(of_the_pod)
        if path is None and not cookie and POD_TOKEN.is_file():
            path = POD_TOKEN
        return cls(path, _read_token(path) if path else "", cookie)

    def read_again(self) -> Token:
        """The token as its file has it now: tokens of a few minutes are renewed there while a run is followed."""
        return replace(self, value=_read_token(self.path)) if self.path is not None else self

    def hidden_in(self, text: str) -> str:
        """``text`` without token and cookie, for what a server sends back."""
        for secret in filter(None, (self.value, self.cookie, self.cookie.partition("=")[2])):
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True)
class Access:
    """All that is needed to reach the API.

    Attributes:
        host: Its URL, without a slash at the end.
        ui: URL of the pages that show runs; mostly the same.
        token: May be empty.
        ca_file: Certificates to trust; None for those that come with the client.
        namespace: Of a multi-user installation; empty for others.
    """

    host: str
    ui: str
    token: Token = field(default_factory=Token)
    ca_file: Path | None = None
    namespace: str = ""

    @classmethod
    def find(
        cls,
        host: str | None,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        namespace: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Access:
        """What was given on the command line, and what the environment says where nothing was.

        Raises:
            KineflowError: No host, or one that is no http(s) URL or holds a password; no readable token or
                certificates.
        """
        environment = os.environ if environment is None else environment
        url = _checked_url(host or environment.get(HOST_VARIABLE, ""))
        certificates = ca_file or (Path(environment[CA_VARIABLE]) if environment.get(CA_VARIABLE) else None)
        if certificates is not None and not certificates.is_file():
            raise KineflowError("no such file of certificates", where=certificates, remedy="correct --ca-file")
        return cls(
            host=url,
            ui=environment.get(UI_VARIABLE, "").rstrip("/") or url,
            token=Token.find(token_file, environment),
            ca_file=certificates,
            namespace=namespace or "",
        )

    def run_page(self, run_id: str) -> str:
        """URL of the page that shows a run."""
        return f"{self.ui}/#/runs/details/{run_id}"

    def schedule_page(self, schedule_id: str) -> str:
        """URL of the page that shows a recurring run."""
        return f"{self.ui}/#/recurringrun/details/{schedule_id}"


def _checked_url(url: str) -> str:
    if not url:
        raise KineflowError(
            "no host is given",
            remedy=f"give --host https://…, or set {HOST_VARIABLE}; `kineflow submit` never guesses one",
        )
    try:
        parts = urlsplit(url)
        has_password = bool(parts.username or parts.password)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, brackets that do not match
        has_password, known = "@" in url, False
    if has_password:
        raise KineflowError(
            "the host's address holds a user name or password", remedy="leave it out, and use --token-file"
        )
    if not known or parts.query or parts.fragment:
        raise KineflowError(f"{url!r} is no address of a host", where="--host", remedy="give http://… or https://…")
    return url.rstrip("/")


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_TOKEN_BYTES)
        token = _clean(content.decode("ascii"), str(path))
    except OSError as error:
        raise KineflowError(f"not readable: {error.strerror}", where=path, remedy="correct --token-file") from None
    except UnicodeDecodeError:
        raise KineflowError("holds no token: it is no ASCII text", where=path, remedy="correct --token-file") from None
    if not token:
        raise KineflowError("holds no token", where=path, remedy="correct --token-file")
    return token


def _cookie(text: str) -> str:
    cookie = text.strip()
    name, _, value = cookie.partition("=")
    if cookie and not (name and value and cookie.isascii() and cookie.isprintable()):
        raise KineflowError("holds no cookie", where=COOKIE_VARIABLE, remedy="give it as name=value")
    return cookie


def _clean(token: str, where: str) -> str:
    token = token.strip()
    if " " in token or not token.isprintable():
        raise KineflowError("holds no token: there are several words or lines", where=where, remedy="correct it")
    return token
