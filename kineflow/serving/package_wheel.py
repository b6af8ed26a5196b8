"""This package as a wheel, so that a stored model can be loaded where Kineflow is not installed.

It holds what lies in the folder of ``kineflow`` and belongs to the package, whether that was installed or is a
checkout; no step, no pipeline, no command. It asks for nothing: what serving needs is listed beside it, pinned
(:mod:`kineflow.serving.served_requirements`), and of what the whole of Kineflow needs that is a small part.

Its version tells its content, ``0.1.0+served.<12 digits of a digest>``: environments that are kept by the names of what
is in them are made anew when a line of code has changed. Of the same content every byte is the same, with one release
of zlib.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import yaml

import kineflow
from kineflow.storage.config import read_yaml

_WHEELS = "wheels"
_SUFFIXES = (".py", ".typed", ".cu", ".html", ".j2", ".css", ".js")  # as pyproject.toml's package-data
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip file knows
_MODE = 0o100644 << 16


def add_package_wheel(model: Path) -> None:
    """Put the wheel into a model that MLflow wrote, and among what is installed for it.

    It is named by its version, which no index has, and looked for beside the list: pip takes a path to be of the folder
    that it is called from, which in an image is another.
    """
    (model / _WHEELS).mkdir()
    name, version, *_ = write_package_wheel(model / _WHEELS).stem.split("-")
    lines = [f"--find-links {_WHEELS}", f"{name}=={version}"]
    listed = model / "requirements.txt"
    listed.write_text("\n".join([*lines, listed.read_text(encoding="utf-8")]), encoding="utf-8")
    conda = model / "conda.yaml"
    content = read_yaml(conda)
    for each in content["dependencies"]:
        if isinstance(each, dict):
            each["pip"] = [*lines, *each["pip"]]
    conda.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def write_package_wheel(folder: Path) -> Path:
    """Write the wheel into an existing folder; returns its path."""
    package = Path(kineflow.__file__).parent
    files = {f"{package.name}/{path.relative_to(package).as_posix()}": path.read_bytes() for path in _own(package)}
    version = f"{kineflow.__version__}+served.{_digest(files)[:12]}"
    about = f"kineflow-{version}.dist-info"
    files[f"{about}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: kineflow\nVersion: {version}\n"
        "Summary: What it takes to load a stored Kineflow model.\nLicense: Apache-2.0\n"
    ).encode()
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: kineflow\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = f"{about}/RECORD"
    rows = [f"{name},sha256={_hash(content)},{len(content)}" for name, content in files.items()]
    files[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    wheel = folder / f"kineflow-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.external_attr, entry.compress_type = _MODE, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return wheel


def _own(package: Path) -> Iterator[Path]:
    for path in sorted(package.rglob("*"), key=lambda path: path.relative_to(package).as_posix()):
        is_hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(package).parts)
        if path.suffix in _SUFFIXES and path.is_file() and not path.is_symlink() and not is_hidden:
            yield path


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
