"""Build the image that steps run in, with this machine's pip settings, and label it.

    python deploy/build_image.py [--tag NAME] [--base IMAGE] [--build-arg NAME=VALUE …]

pip reads its settings and certificates inside the build as build secrets, and reaches the network as this machine does
(``--network host``), so that a private index or a proxy works there as it does here, and leaves no trace in the image.
Package folders of this machine (``find-links``, ``file://`` indexes) are served to the build over the loopback.
"""

from __future__ import annotations

import argparse
import ast
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from components.frontend.image import IMAGE  # noqa: E402
from kineflow import __version__  # noqa: E402
from kineflow.spec.schema import DATA_SCHEMA_VERSION  # noqa: E402
from kineflow.storage.errors import KineflowError  # noqa: E402
from kineflow.tracking.lineage import git_tags, tree_digest  # noqa: E402

_LOG = logging.getLogger("build_image")
_CERTIFICATES_IN_BUILD = "/run/secrets/ca"
_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
_PLACES = ("index-url", "extra-index-url", "find-links")
_PASSED_ON = (*_PLACES, "trusted-host", "no-index", "default-timeout", "timeout", "retries", "prefer-binary", "proxy")
_SECTIONS = ("global", "install", ":env:")  # later ones win
# Docker keeps these build arguments out of the image's history.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def main(arguments: list[str] | None = None) -> int:
    """Build, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description="Build the image that steps run in.")
    parser.add_argument("--tag", default=IMAGE, help=f"name of the image; {IMAGE} by default")
    parser.add_argument("--base", help="base image; the Dockerfile's default otherwise")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="see the Dockerfile")
    parsed = parser.parse_args(arguments)
    given = [*parsed.build_arg, *([f"BASE={parsed.base}"] if parsed.base else [])]
    try:
        return build(parsed.tag, [*labels(ROOT), *given])
    except KineflowError as error:
        _LOG.error("error: %s%s", error.problem, f"\n  → {error.remedy}" if error.remedy else "")
        return error.exit_code


def build(tag: str, build_arguments: list[str]) -> int:
    """Build the image ``tag``; returns Docker's exit code.

    Raises:
        KineflowError: No Docker client here can build it.
    """
    program = client_with_buildkit()
    settings, certificates = pip_settings()
    with tempfile.TemporaryDirectory() as folder, served(settings) as reachable:
        secret = Path(folder) / "pip.conf"
        secret.write_text(pip_conf(reachable, with_certificates=certificates is not None), encoding="utf-8")
        command = [program, "build", "--network", "host", "--tag", tag, "--secret", f"id=pip,src={secret}"]
        command += ["--secret", f"id=ca,src={certificates}"] if certificates else []
        for argument in (*build_arguments, *(name for name in _PROXIES if os.environ.get(name))):
            command += ["--build-arg", argument]
        return subprocess.run([*command, str(ROOT)], env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=False).returncode


def labels(root: Path) -> list[str]:
    """Build arguments that say what the image holds."""
    git = git_tags(root)
    commit = git.get("git.commit", "") + ("-dirty" if git.get("git.dirty") == "true" else "")
    return [
        f"GIT_COMMIT={commit}",
        f"VERSION={__version__}",
        f"DATA_SCHEMA_VERSION={DATA_SCHEMA_VERSION}",
        f"SOURCE_DIGEST={tree_digest(root)}",
    ]


def client_with_buildkit() -> str:
    """A Docker client that can build with BuildKit: since version 23 that takes a plugin, before it was built in.

    Raises:
        KineflowError: There is none.
    """
    for program in dict.fromkeys(filter(None, (shutil.which("docker"), shutil.which("docker", path="/usr/bin")))):
        if _says(program, "buildx", "version"):
            return program
        version = re.match(r"\d+", _says(program, "version", "--format", "{{.Client.Version}}"))
        if version and 18 < int(version[0]) < 23:
            return program
    raise KineflowError("no Docker client here has BuildKit", remedy="install Docker's buildx plugin")


def pip_settings() -> tuple[dict[str, str], Path | None]:
    """This machine's pip settings that concern downloads, and its bundle of certificates if it names one."""
    listed = _says(sys.executable, "-m", "pip", "config", "list")
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key] = ast.literal_eval(value)
    merged = {key: value for section in _SECTIONS for key, value in found[section].items()}
    named = [merged.get("cert", ""), *(os.environ.get(name, "") for name in _CERTIFICATE_VARIABLES)]
    certificates = next((Path(name) for name in named if name and Path(name).is_file()), None)
    return {key: merged[key] for key in _PASSED_ON if merged.get(key)}, certificates


def pip_conf(settings: Mapping[str, str], *, with_certificates: bool) -> str:
    """A pip.conf with ``settings``."""
    values = {**settings, **({"cert": _CERTIFICATES_IN_BUILD} if with_certificates else {})}
    listed = (f"{key} = {' '.join(value.split())}\n" for key, value in values.items())
    return "[global]\n" + "".join(listed)


@contextmanager
def served(settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The same settings, with folders of this machine replaced by addresses on the loopback that serve them."""
    roots: list[Path] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Folders, roots)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            yield {
                key: " ".join(_reachable(place, key, roots, address) for place in value.split())
                if key in _PLACES
                else value
                for key, value in settings.items()
            }
        finally:
            server.shutdown()


def _reachable(place: str, key: str, roots: list[Path], address: str) -> str:
    url = urlsplit(place)
    folder = Path(unquote(url.path) if url.scheme == "file" else place).expanduser()
    if url.scheme not in ("file", "") or not folder.is_dir():
        return place
    # An index links to files that may lie beside it: its parent is served.
    root = folder if key == "find-links" else folder.parent
    roots.append(root)
    return f"{address}/{len(roots) - 1}/{folder.relative_to(root).as_posix()}/".replace("/./", "/")


class _Folders(SimpleHTTPRequestHandler):
    """Serves ``/0/…`` from the first folder, ``/1/…`` from the second, and so on."""

    def __init__(self, roots: list[Path], *arguments: object) -> None:
        self._roots = roots
        super().__init__(*arguments)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        """The file that a path stands for."""
        number, _, below = urlsplit(path).path.lstrip("/").partition("/")
        root = self._roots[int(number)].resolve() if number.isdigit() and int(number) < len(self._roots) else None
        file = (root / unquote(below)).resolve() if root else None
        is_inside = root is not None and file is not None and file.is_relative_to(root)
        kept_slash = "/" if path.endswith("/") else ""
        return f"{file}{kept_slash}" if is_inside else os.devnull + "/nothing"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def _says(*command: str) -> str:
    """What a command prints; nothing when it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
