"""What weights take for their input, written into their own file: the metadata of a safetensors file."""

from __future__ import annotations

import json
import math
from pathlib import Path

from kineflow.models.normalisation import Normalisation
from kineflow.models.safetensors_file import read_metadata
from kineflow.storage.errors import KineflowError, first_line
from kineflow.storage.safe_json import parse_json

_KEY = "kineflow.input"
_LEVELS = 255


def metadata_of(takes: Normalisation | None) -> dict[str, str]:
    """The metadata to write; none where it is not known."""
    if takes is None:
        return {}
    return {_KEY: json.dumps({"mean": takes.mean, "std": takes.std, "channel_order": takes.channel_order})}


def stored_input(path: Path) -> Normalisation | None:
    """What the file says of its input; None where it says nothing, or is of another form.

    Raises:
        KineflowError: What it says is damaged.
    """
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return None
    try:
        said = read_metadata(path).get(_KEY)
        return None if said is None else _normalisation(said)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise KineflowError(
            f"says what it takes for its input in no form that is known: {first_line(error)}",
            where=path,
            remedy="convert it again: kineflow weights convert",
        ) from None


def _normalisation(said: str) -> Normalisation:
    facts = parse_json(said)
    (red, green, blue), (of_red, of_green, of_blue) = (map(float, facts[key]) for key in ("mean", "std"))
    takes = Normalisation((red, green, blue), (of_red, of_green, of_blue), facts["channel_order"])
    if takes.channel_order not in ("rgb", "bgr"):
        raise ValueError(f"channel_order {str(takes.channel_order)[:20]!r}")
    if not all(0 <= mean <= _LEVELS for mean in takes.mean) or not all(0 < std <= _LEVELS for std in takes.std):
        raise ValueError(f"mean and std in 0..{_LEVELS}")
    if not all(map(math.isfinite, (*takes.mean, *takes.std))):
        raise ValueError("mean and std that are no numbers")
    return takes
