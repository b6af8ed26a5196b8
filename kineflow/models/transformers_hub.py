"""Checkpoints of transformers by the id of a hub's repository at a commit, fetched by the hub's own client.

The client keeps what it fetched in its cache, and obeys its variables: ``HF_HOME``, ``HF_HUB_OFFLINE``,
``HF_ENDPOINT``, ``HF_TOKEN``. A commit never changes, so what is in the cache is not asked for again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kineflow.models.transformers_config import CONFIG_FILE
from kineflow.models.transformers_input import INPUT_FILES
from kineflow.models.transformers_library import require_transformers
from kineflow.models.weights import LARGEST_BYTES
from kineflow.storage.errors import KineflowError

SAFE_FILE, INDEX_FILE, TORCH_FILE = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"

_PART = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_TIMEOUT_S = 30.0


def fetch_repository(hub_id: str) -> Path:
    """The folder with a checkpoint's configuration, its preprocessor's settings and its weights.

    Raises:
        KineflowError: The library is not installed; or the repository cannot be had, or has no weights or too many.
    """
    require_transformers()
    from huggingface_hub import HfApi, snapshot_download

    name, commit = hub_id.split("@")
    kept = _kept(name, commit)
    if kept and any((kept / each).is_file() for each in INPUT_FILES):
        return kept
    try:
        listed = HfApi().model_info(name, revision=commit, files_metadata=True, timeout=_TIMEOUT_S).siblings or []
        files = _wanted({each.rfilename: each.size or 0 for each in listed}, hub_id)
        return Path(snapshot_download(name, revision=commit, allow_patterns=files))
    except KineflowError:
        raise
    except Exception as error:  # its client lets those of its HTTP library through
        if kept:
            return kept
        raise KineflowError(
            f"the hub does not give it: {_reason(error)}",
            where=hub_id,
            remedy="check id, commit and network; for a private one set HF_TOKEN; "
            "or download its files otherwise, and give their folder",
        ) from None


def is_fetched(hub_id: str) -> bool:
    """Whether a checkpoint is in the cache of the hub's client; the hub is not asked."""
    return find_spec("huggingface_hub") is not None and _kept(*hub_id.split("@")) is not None


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of a checkpoint: one, or the parts that its index names.

    Raises:
        KineflowError: There are none, a part is missing, or the index is damaged.
    """
    from kineflow.storage.safe_json import read_json

    for name in (SAFE_FILE, INDEX_FILE, TORCH_FILE):
        path = folder / name
        if not path.is_file():
            continue
        if name != INDEX_FILE:
            return [path]
        try:
            parts = sorted(set(read_json(path)["weight_map"].values()))
            if not parts or not all(isinstance(part, str) and _PART.fullmatch(part) for part in parts):
                raise ValueError("it names other files than parts")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise KineflowError(f"damaged: {error}", where=path, remedy="write or download it again") from None
        if missing := next((folder / part for part in parts if not (folder / part).is_file()), None):
            raise KineflowError("a part of the weights is missing", where=missing, remedy="write or download it again")
        return [folder / part for part in parts]
    raise KineflowError(
        f"no weights: neither {SAFE_FILE} nor {TORCH_FILE} is there",
        where=folder,
        remedy="give the folder that save_pretrained wrote",
    )


def _kept(name: str, commit: str) -> Path | None:
    """The folder of the cache, if configuration and weights are there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, CONFIG_FILE, revision=commit)
    if not isinstance(path, str):
        return None
    folder = Path(path).parent
    try:
        weight_files(folder)
    except KineflowError:
        return None
    return folder


def _wanted(sizes: Mapping[str, int], hub_id: str) -> list[str]:
    parts = [name for name in sizes if _PART.fullmatch(name)]
    if SAFE_FILE in sizes:
        weights = [SAFE_FILE]
    elif INDEX_FILE in sizes:
        weights = [INDEX_FILE, *parts]
    else:
        weights = [name for name in (TORCH_FILE,) if name in sizes]
    if not weights or CONFIG_FILE not in sizes:
        raise KineflowError(
            f"no checkpoint of transformers: it has neither {SAFE_FILE} nor {TORCH_FILE}, or no {CONFIG_FILE}",
            where=hub_id,
            remedy="give the id of a network for video, in the library's layout",
        )
    files = [CONFIG_FILE, *(name for name in INPUT_FILES if name in sizes), *weights]
    if (total := sum(sizes[name] for name in files)) > LARGEST_BYTES:
        raise KineflowError(
            f"{total / 1e9:.1f} GB, more than the {LARGEST_BYTES / 1e9:.1f} GB that are fetched",
            where=hub_id,
            remedy="give a smaller network",
        )
    return files


def _reason(error: Any) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
