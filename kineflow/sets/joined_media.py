"""The media of several sets as those of one: no byte is moved where they share a place."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from kineflow.sets.media import OWN_MEDIA, put_in_place
from kineflow.sets.rows import R
from kineflow.storage.client import S3_SCHEME, split_uri
from kineflow.storage.errors import KineflowError
from kineflow.storage.media import check_root, is_remote, locate


@dataclass(frozen=True)
class JoinedMedia:
    """Where the media of several sets are, seen from one root.

    Attributes:
        root: Folder or ``s3://`` prefix that holds them all.
        below: Where each set's media root lies below it.
    """

    root: str
    below: Mapping[str, PurePath]

    @classmethod
    def of(cls, media_roots: Collection[str]) -> JoinedMedia:
        """The place that holds all of these roots.

        Raises:
            KineflowError: There is none, as for a folder and a bucket.
        """
        remote = [root for root in media_roots if is_remote(root)]
        if not remote:
            local = {root: Path(root).resolve() for root in media_roots}
            common = Path(os.path.commonpath(local.values()))
            return cls(str(common), {root: path.relative_to(common) for root, path in local.items()})
        buckets = {split_uri(root)[0] for root in remote}
        if len(remote) < len(media_roots) or len(buckets) > 1:
            raise KineflowError(
                f"shards keep their media in places with nothing in common: {', '.join(sorted(media_roots))}",
                remedy="make all shards with one media_root",
            )
        prefixes = {root: PurePosixPath("/", split_uri(root)[1]) for root in remote}
        shared = PurePosixPath(os.path.commonpath(prefixes.values()))
        uri = check_root(f"{S3_SCHEME}{buckets.pop()}{shared}")
        return cls(uri, {root: prefix.relative_to(shared) for root, prefix in prefixes.items()})

    def row(self, row: R, media_root: str) -> R:
        """A row of the set with ``media_root``, as one below :attr:`root`.

        Raises:
            KineflowError: Its path leads outside ``media_root``; below :attr:`root` it might be another's file.
        """
        if not row.path:
            return row
        locate(media_root, row.path)
        return dataclasses.replace(row, path=(self.below[media_root] / row.path).as_posix())


def settle_joined(rows: Sequence[R], media_root: str, sets: Sequence[Path], folder: Path) -> tuple[list[R], str]:
    """Rows and media root of a joined set that is being written to ``folder``.

    Where all media lie in the folders ``sets``, which may go, they are linked into it, or copied to another disk, under
    the paths that they have there.

    Args:
        rows: Of all sets, below ``media_root``.
        media_root: That of :class:`JoinedMedia`.
        sets: Folders of the sets that are joined.
        folder: To be written.
    """
    places = [place for each in sets for place in (each.resolve() / OWN_MEDIA, each.resolve())]
    settled = [_within(row, media_root, places) for row in rows]
    if is_remote(media_root) or not any(row.path for row in rows) or None in settled:
        return list(rows), media_root
    for place in places:
        put_in_place((row.path for row, at in filter(None, settled) if at == place), place, folder / OWN_MEDIA)
    return [row for row, _ in filter(None, settled)], str(folder / OWN_MEDIA)


def _within(row: R, media_root: str, places: Sequence[Path]) -> tuple[R, Path | None] | None:
    """A row as one below the first of these places that holds its media, if it has some; None where none does."""
    if not row.path:
        return row, None
    media = Path(media_root, row.path)
    place = next((place for place in places if media.is_relative_to(place)), None)
    return (dataclasses.replace(row, path=media.relative_to(place).as_posix()), place) if place else None
