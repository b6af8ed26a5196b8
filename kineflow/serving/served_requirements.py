"""What a stored model needs besides Kineflow, at the versions that are installed here.

Kept small: MLflow without its server and its database, and of Kineflow's own needs those that predicting imports. What
these need in turn is pinned as constraints, so that an environment made in a year is the one that was tried.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import metadata

_LOG = logging.getLogger(__name__)

_PACKAGES = (
    "mlflow-skinny",
    "pandas",
    "torch",
    "numpy",
    "av",
    "opencv-contrib-python-headless",
    "safetensors",
    "pydantic",
    "pyyaml",
)
_FLOW_PACKAGES = ("numba",)
_PACKAGES_OF_NETWORKS = {"transformers": ("transformers", "huggingface_hub")}


def requirements(*, takes_flow: bool, architecture: str = "") -> list[str]:
    """The packages that predicting imports, ``NAME==VERSION`` each; builds of one version are not told apart."""
    return list(_pinned(_imported(takes_flow, architecture)))


def constraints(*, takes_flow: bool, architecture: str = "") -> list[str]:
    """The same for those packages and all that they need here, in order of their names."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    waiting, found = list(_imported(takes_flow, architecture)), set[str]()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        try:
            needs = [Requirement(line) for line in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return list(_pinned(sorted(found)))


def _imported(takes_flow: bool, architecture: str) -> tuple[str, ...]:
    return _PACKAGES + _FLOW_PACKAGES * takes_flow + _PACKAGES_OF_NETWORKS.get(architecture, ())


def _pinned(packages: Iterable[str]) -> Iterable[str]:
    for package in packages:
        try:
            yield f"{package}=={metadata.version(package).partition('+')[0]}"
        except metadata.PackageNotFoundError:
            _LOG.warning("package %s is not installed, and the served model needs it", package)
