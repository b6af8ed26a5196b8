"""Groups of clips that belong together, found where a list gives none.

Clips of one recording share people, light and place. With some in training and others in the test, a model is praised
for knowing the place. Three things tell that clips belong together, and what belongs to one of a group belongs to all:

- their **names**, less the number of a part: ``ann_000010_000020``, ``ann-clip2``, ``ann (3)``;
- a **frame** of each that is the same but for its coding: at most 3 of 64 bits of their hashes differ;
- the same **scene**: in most of nine tiles of the picture the edges of their backgrounds correlate
  (:mod:`kineflow.data.fingerprint`); in most, for a channel's sign or a camera's clock is alike in all of its videos.

None of it sees that two scenes are of one recording, so groups found are to be confirmed; each says why.

Measured on 149 surveillance clips of 24 recordings, of which many are cut together from several cameras and none is
told by names. Among twelve recordings no pair of clips was joined wrongly from a correlation of .3 on, and of .5 where
the same sign and clock were drawn over every clip; .6 is taken. With it, of the pairs joined among the other twelve all
were right, drawn over or not, and 29 % (32 % drawn over) of their pairs that are of one recording were joined.

Memory and time do not grow with the square of the number of clips: hashes are compared with those that agree in one of
four quarters (which finds all at 3 bits), and above :data:`MOST_COMPARED` clips backgrounds with those that fall on the
same side of some random planes, which finds most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kineflow.data.fingerprint import Fingerprint
from kineflow.data.source_names import source_names
from kineflow.storage.errors import KineflowError

SAME_SCENE = 0.6
"""Least correlation of a tile of two backgrounds of one scene."""

SAME_TILES = 5
"""Fewest tiles, of nine, that correlate so."""

SAME_FRAME_BITS = 3
"""Most bits in which the hashes of the same frame differ."""

MOST_COMPARED = 8192
"""Most clips whose backgrounds are compared each with each, some hundreds at a time."""

_TILES = 3  # a side
_QUARTERS = 4  # of a hash; SAME_FRAME_BITS + 1, so that one of them has no differing bit
_BLOCK = 256
_TABLES, _PLANES = 32, 12
_MOST_IN_BUCKET = 512

_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Link:
    """Why two clips are in one group.

    Attributes:
        first, second: Their places in the list, ``first`` the lower.
        reason: In a phrase.
    """

    first: int
    second: int
    reason: str


@dataclass(frozen=True)
class Group:
    """Clips that belong together.

    Attributes:
        members: Their places in the list, ascending.
        reasons: What joins them, one fewer than there are members.
    """

    members: tuple[int, ...]
    reasons: tuple[Link, ...]


def group_clips(
    names: Sequence[str], fingerprints: Sequence[Fingerprint | None], *, classes: Collection[str] = ()
) -> list[Group]:
    """Find the groups of some clips.

    Args:
        names: Paths of their videos, with ``/``.
        fingerprints: Of each; None where there is none, as of a broken video.
        classes: Of the clips: a file that is called as one was not cut from a recording of that name.

    Returns:
        Every clip in one group, alone where nothing joins it to another; groups in the order of their first members.

    Raises:
        KineflowError: There are not as many fingerprints as names.
    """
    if len(names) != len(fingerprints):
        raise KineflowError(f"{len(fingerprints)} fingerprints of {len(names)} clips", remedy="give one of each clip")
    forest = _Forest(len(names))
    first_of: dict[str, int] = {}
    for number, source in enumerate(source_names(names, classes)):
        if source and (first := first_of.setdefault(source, number)) != number:
            forest.join(first, number, f"both are called {source!r} before the number of a part")
    known = [(number, each) for number, each in enumerate(fingerprints) if each is not None]
    if known:
        _join_same_frames(known, forest)
        _join_same_scenes(known, forest)
    return forest.groups()


class _Forest:
    """Union-find that knows the tree of every clip at once, and remembers what has joined the trees."""

    def __init__(self, count: int) -> None:
        self.tree: _Numbers = np.arange(count)
        self._members = {number: [number] for number in range(count)}
        self._links: list[Link] = []

    def join(self, first: int, second: int, reason: str) -> None:
        """Join the trees of two clips, where they are two."""
        small, large = sorted(
            (int(self.tree[first]), int(self.tree[second])), key=lambda tree: len(self._members[tree])
        )
        if small == large:
            return
        moved = self._members.pop(small)
        self.tree[moved] = large
        self._members[large] += moved
        self._links.append(Link(min(first, second), max(first, second), reason))

    def join_alike(
        self,
        some: _Numbers,
        others: _Numbers,
        distance: npt.NDArray[np.float32],
        *,
        most: float,
        reason: Callable[[float], str],
    ) -> None:
        """Join clips that are no further apart than ``most``; the nearest of each tree, and no pair within one.

        Args:
            some, others: Clips [n] and [m].
            distance: Between them [n,m].
            most: Largest distance.
            reason: Of a distance, in a phrase.
        """
        near = distance <= most
        for row in np.flatnonzero(near.any(axis=1)):
            columns = np.flatnonzero(near[row] & (self.tree[others] != self.tree[some[row]]))
            columns = columns[np.argsort(distance[row, columns], kind="stable")]
            _, nearest = np.unique(self.tree[others[columns]], return_index=True)
            for column in columns[np.sort(nearest)]:
                self.join(int(some[row]), int(others[column]), reason(float(distance[row, column])))

    def groups(self) -> list[Group]:
        """In the order of their first members."""
        reasons: dict[int, list[Link]] = {}
        for link in self._links:
            reasons.setdefault(int(self.tree[link.first]), []).append(link)
        groups = [Group(tuple(sorted(each)), tuple(reasons.get(tree, ()))) for tree, each in self._members.items()]
        return sorted(groups, key=lambda group: group.members[0])


def _join_same_frames(known: Sequence[tuple[int, Fingerprint]], forest: _Forest) -> None:
    """Join clips with a frame in common."""
    hashes = np.concatenate([each.hashes for _, each in known])
    clips = np.repeat([number for number, _ in known], [len(each.hashes) for _, each in known])
    width = 64 // _QUARTERS
    for quarter in range(_QUARTERS):
        keys = (hashes >> np.uint64(quarter * width)) & np.uint64((1 << width) - 1)
        for bucket in _buckets(keys):
            differing = np.bitwise_count(hashes[bucket][:, None] ^ hashes[bucket][None]).astype(np.float32)
            forest.join_alike(clips[bucket], clips[bucket], differing, most=SAME_FRAME_BITS, reason=_same_frame)


def _join_same_scenes(known: Sequence[tuple[int, Fingerprint]], forest: _Forest) -> None:
    """Join clips whose backgrounds correlate."""
    known = [(number, each) for number, each in known if each.background.any()]
    if not known:
        return
    clips = np.array([number for number, _ in known])
    stored = np.stack([_tiles(each.background) for _, each in known])  # int8: 58 MB of 100,000 clips
    for some, others in _compared(stored):
        correlations = _units(stored[some]) @ _units(stored[others]).transpose(0, 2, 1)  # [9,n,m]
        apart = 1 - np.partition(correlations, -SAME_TILES, axis=0)[-SAME_TILES]
        forest.join_alike(clips[some], clips[others], apart, most=1 - SAME_SCENE, reason=_same_scene)


def _same_frame(bits: float) -> str:
    return f"both have nearly the same frame ({bits:.0f} of 64 bits differ)"


def _same_scene(distance: float) -> str:
    return f"the same scene (most of the background correlates by {1 - distance:.2f} or more)"


def _compared(stored: npt.NDArray[np.int8]) -> Iterator[tuple[_Numbers, _Numbers]]:
    """Rows to compare, each of the first with each of the second."""
    every = np.arange(len(stored))
    if len(stored) <= MOST_COMPARED:
        for start in range(0, len(stored), _BLOCK):
            yield every[start : start + _BLOCK], every[start:]
        return
    rng, flat = np.random.default_rng(0), stored.reshape(len(stored), -1)
    for _ in range(_TABLES):
        planes = rng.standard_normal((flat.shape[1], _PLANES), dtype=np.float32)
        sides = [flat[first : first + _BLOCK] @ planes > 0 for first in range(0, len(flat), _BLOCK)]
        for bucket in _buckets(np.concatenate(sides) @ (1 << np.arange(_PLANES, dtype=np.uint64))):
            yield bucket, bucket


def _tiles(background: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """The nine tiles of a background [576], int8 [9,64]."""
    side = math.isqrt(background.size) // _TILES
    squares = background.reshape(_TILES, side, _TILES, side).transpose(0, 2, 1, 3)
    return squares.reshape(_TILES**2, side**2)


def _units(tiles: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """Tiles [n,9,64] about their means and of length 1, float32 [9,n,64]; those of one level stay 0."""
    values = tiles.transpose(1, 0, 2).astype(np.float32)
    values -= values.mean(axis=2, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=2, keepdims=True), 1e-6)
    return values


def _buckets(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.int64]]:
    """Places of equal keys, two at least; of very many, pieces that overlap by one, so that what is alike is joined."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    for bucket in np.split(order, edges):
        for first in range(0, max(1, len(bucket) - 1), _MOST_IN_BUCKET - 1):
            if len(piece := bucket[first : first + _MOST_IN_BUCKET]) > 1:
                yield np.sort(piece)
