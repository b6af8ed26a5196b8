"""What a transformers checkpoint takes for its input, as the settings of its preprocessor say: read as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kineflow.models.normalisation import Normalisation
from kineflow.models.transformers_config import VideoConfig, ViViT
from kineflow.storage.errors import KineflowError
from kineflow.storage.safe_json import read_json

INPUT_FILES = ("video_preprocessor_config.json", "preprocessor_config.json")
"""The first that is there counts."""

_MOST_SETTINGS_BYTES = 2**20
_Side = Annotated[int, Field(ge=1, le=4096)]
_Three = tuple[float, float, float]


@dataclass(frozen=True)
class LibraryInput:
    """How frames become the network's input.

    Attributes:
        normalisation: Of its values.
        edge_ratio: The short side of a frame over that of the square that is cut out of it.
        fit: As in ``Preprocessing``.
    """

    normalisation: Normalisation
    edge_ratio: float
    fit: Literal["crop", "squash"]


class _Size(BaseModel):
    model_config = ConfigDict(extra="ignore")
    shortest_edge: _Side | None = None
    height: _Side | None = None
    width: _Side | None = None


class _Settings(BaseModel):
    """Names and defaults are the library's."""

    model_config = ConfigDict(extra="ignore")
    image_mean: _Three
    image_std: _Three
    do_rescale: bool = True
    rescale_factor: float = Field(1 / 255, gt=0, le=1)
    offset: bool = False
    do_normalize: bool = True
    size: _Size | _Side = _Size()
    do_center_crop: bool = True


def input_of_folder(folder: Path, config: VideoConfig) -> LibraryInput | None:
    """What the preprocessor's settings in a checkpoint's folder say; None where there are none.

    Raises:
        KineflowError: They are damaged, or say what no normalisation is.
    """
    path = next((folder / name for name in INPUT_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        content = read_json(path, max_bytes=_MOST_SETTINGS_BYTES)
        settings = _Settings.model_validate(_with_usual(content, config))
    except (OSError, ValueError) as error:
        faults = error.errors() if isinstance(error, ValidationError) else ()
        reason = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults[:3]) or str(error)
        raise KineflowError(
            f"not the settings of a preprocessor: {reason}",
            where=path,
            remedy="correct it; or remove it, and give network.rgb_mean and rgb_std",
        ) from None
    edge = settings.size.shortest_edge if isinstance(settings.size, _Size) else None
    squashes = edge is None and not settings.do_center_crop
    return LibraryInput(
        _normalisation(settings, where=path),
        edge_ratio=max(1.0, (edge or config.size) / config.size),
        fit="squash" if squashes else "crop",
    )


def _with_usual(content: Any, config: VideoConfig) -> Any:
    """ViViT's values are in −1..1 before they are normalised; its settings do not always say so."""
    usual = {"rescale_factor": 1 / 127.5, "offset": True} if isinstance(config, ViViT) else {}
    return {**usual, **content} if isinstance(content, dict) else content


def _normalisation(settings: _Settings, *, where: Path) -> Normalisation:
    """The library's (pixel · factor − offset − mean) / std, in units of 0..255."""
    factor = settings.rescale_factor if settings.do_rescale else 1.0
    shift = 1.0 if settings.offset and settings.do_rescale else 0.0
    mean = settings.image_mean if settings.do_normalize else (0.0,) * 3
    std = settings.image_std if settings.do_normalize else (1.0,) * 3
    red, green, blue = means = [(value + shift) / factor for value in mean]
    if not all(abs(value) < 1e6 for value in means):
        raise KineflowError(f"image_mean {settings.image_mean} is no colour", where=where, remedy="correct it")
    if not all(1e-6 <= value / factor < 1e6 for value in std):
        raise KineflowError(f"image_std {settings.image_std} cannot divide", where=where, remedy="correct it")
    std_red, std_green, std_blue = (value / factor for value in std)
    return Normalisation((red, green, blue), (std_red, std_green, std_blue))
