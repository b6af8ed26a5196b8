"""Of which network weights are and what they take for their input, within their file: metadata of safetensors."""

from __future__ import annotations

import json
import math
from pathlib import Path

from kineflow.models.normalisation import Normalisation
from kineflow.models.safetensors_file import read_metadata
from kineflow.storage.errors import KineflowError, first_line
from kineflow.storage.names import shown
from kineflow.storage.safe_json import parse_json

_INPUT, _NETWORK = "kineflow.input", "kineflow.network"
_MOST_NAME_LETTERS = 80
_LEVELS = 255


def metadata_of(network: str, takes: Normalisation | None) -> dict[str, str]:
    """The metadata to write, of the input only where it is known."""
    of_network = {_NETWORK: network}
    if takes is None:
        return of_network
    return of_network | {
        _INPUT: json.dumps({"mean": takes.mean, "std": takes.std, "channel_order": takes.channel_order})
    }


def stored_input(path: Path) -> Normalisation | None:
    """What the file says of its input; None where it says nothing, or is of another form.

    Raises:
        KineflowError: What it says is damaged.
    """
    said = _stored(path, _INPUT)
    try:
        return _normalisation(said) if said else None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, "what it takes for its input", error) from None


def stored_network(path: Path) -> str:
    """The network that the file says it is of; empty where it says nothing, or is of another form.

    Raises:
        KineflowError: What it says is damaged.
    """
    said = _stored(path, _NETWORK)
    if len(said) > _MOST_NAME_LETTERS or not said.isprintable():
        raise _damaged(path, "of which network it is", ValueError(shown(said)))
    return said


def _stored(path: Path, key: str) -> str:
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return ""
    try:
        return read_metadata(path).get(key, "")
    except (OSError, ValueError) as error:
        raise _damaged(path, "what it holds", error) from None


def _damaged(path: Path, what: str, error: Exception) -> KineflowError:
    return KineflowError(
        f"says {what} in no form that is known: {first_line(error)}",
        where=path,
        remedy="convert it again: kineflow weights convert",
    )


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
