"""Sets of several runs in one place: a folder, on disk or on S3, with a folder for each set.

What lies there is the index of each set; media stay where they are. A set that is being stored is not there yet.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kineflow.sets.clip_set import CLIP_FILES, ClipSet
from kineflow.sets.flow_set import FLOW_FILES, FlowSet
from kineflow.sets.indexed import SetFiles
from kineflow.storage.client import S3_SCHEME, s3_client, split_uri, translate_s3_failures
from kineflow.storage.disk import translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_folder
from kineflow.storage.media import check_root, is_remote
from kineflow.storage.progress import track
from kineflow.storage.upload import upload_folder

_NAME = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)
_MOST_BYTES = 2**34  # of one file: the index of a hundred million clips


def store_set(folder: Path, place: str, name: str) -> str:
    """Put the index of a clip or flow set where sets of other runs lie too; one of that name is replaced.

    Args:
        folder: Of the set; a clip set may be a shard.
        place: Folder, or ``s3://`` prefix.
        name: Of the set there: letters, digits, ``_``, ``-`` and ``.``.

    Returns:
        Where it lies.

    Raises:
        KineflowError: It is no set, or keeps its media itself; the name is none, or that of a set of the other kind in
            this folder; or the place cannot be written to.
    """
    if not _NAME.fullmatch(name):
        raise KineflowError(
            f"{name!r} is no name of a set",
            where=place,
            remedy="use letters, digits, _, - and ., no . at the beginning",
        )
    is_of_clips = (folder / CLIP_FILES.described).is_file()
    kept: ClipSet | FlowSet = ClipSet.load(folder, may_be_shard=True) if is_of_clips else FlowSet.load(folder)
    if not is_remote(kept.media_root) and Path(kept.media_root).is_relative_to(folder.resolve()):
        raise KineflowError(
            "the set keeps its media itself, and they would not come along",
            where=folder,
            remedy="make it with a media_root, such as a shared volume or s3://bucket/prefix",
        )
    there = f"{check_root(place)}/{name}"
    if is_remote(place):
        if not is_remote(kept.media_root):
            raise KineflowError(
                f"its media lie in {kept.media_root}, where readers of {place} may not find them",
                where=folder,
                remedy="make it with a media_root on S3, or store it in a folder",
            )
        with tempfile.TemporaryDirectory(prefix="kineflow-") as made:
            kept.save(Path(made))
            upload_folder(Path(made), there)
        return there
    kinds: tuple[SetFiles[Any], SetFiles[Any]] = (CLIP_FILES, FLOW_FILES)
    mine, other = kinds if is_of_clips else kinds[::-1]
    if Path(there, other.described).is_file():
        raise KineflowError(
            f"a {other.kind} is here, and would be replaced by a {mine.kind}",
            where=there,
            remedy="keep the sets of each kind in a folder of their own, such as sets/clips and sets/flow",
        )
    with translate_full_disk(Path(place)), atomic_folder(Path(there)) as partial:
        kept.save(partial)
    return there


def holds_sets(place: str, files: SetFiles[Any]) -> bool:
    """Whether a place is one with a folder for each set of a kind; of S3 nothing else is expected."""
    return is_remote(place) or bool(_sets_in(Path(place), files))


@contextmanager
def fetched_sets(place: str, files: SetFiles[Any]) -> Iterator[dict[str, Path]]:
    """The sets of a kind that lie in a place, as folders by name; those of S3 are gone after the block.

    Args:
        place: Folder, or ``s3://`` prefix.
        files: Which kind of set.

    Raises:
        KineflowError: There is none, or S3 does not answer.
    """
    with ExitStack() as stack:
        if is_remote(place):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kineflow-")))
            _download(check_root(place), files, folder)
        else:
            folder = Path(place)
        found = _sets_in(folder, files)
        if not found:
            raise KineflowError(
                f"no {files.kind} here: each is a folder with {files.described}",
                where=place,
                remedy=f"name the folder that holds the folders of these {files.kind}s",
            )
        yield found


def _sets_in(folder: Path, files: SetFiles[Any]) -> dict[str, Path]:
    """Folders of sets by name; one whose name begins with a dot is still being stored."""
    found = sorted(path.parent for path in folder.glob(f"*/{files.described}"))
    return {path.name: path for path in found if not path.name.startswith(".")}


def _download(place: str, files: SetFiles[Any], folder: Path) -> None:
    bucket, prefix = split_uri(place)
    client, below = s3_client(), f"{prefix}/" if prefix else ""
    with translate_s3_failures(place):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
        sizes = {item["Key"].removeprefix(below): item["Size"] for page in pages for item in page.get("Contents", [])}
    suffix = f"/{files.described}"
    names = [key.removesuffix(suffix) for key in sizes if key.endswith(suffix) and key.count("/") == 1]
    for name in track(names, total=len(names), what="fetch", unit=files.kind):
        if not name or name.startswith("."):
            continue
        (folder / name).mkdir()
        for key in (f"{name}/{files.index}", f"{name}/{files.described}"):
            where = f"{S3_SCHEME}{bucket}/{below}{key}"
            if not 0 < sizes.get(key, 0) <= _MOST_BYTES:
                raise KineflowError(f"no index of a {files.kind}", where=where, remedy="store this set again")
            with translate_full_disk(folder), translate_s3_failures(where):
                client.download_file(bucket, f"{below}{key}", str(folder / key))
