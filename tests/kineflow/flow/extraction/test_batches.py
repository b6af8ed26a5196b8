"""Batches of pairs, filled from clip after clip."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kineflow.flow.extraction.batches import MOST_PIXELS_CPU, MOST_PIXELS_GPU, Filler, PairBatch, Piece, pairs_in_batch

Sizes = st.sampled_from([(2, 3), (4, 1)])
Clips = st.lists(st.tuples(Sizes, st.integers(2, 9)), max_size=8)


def numbered(clips: list[tuple[tuple[int, int], int]]) -> list[np.ndarray]:
    """Clips whose every frame holds a number of its own."""
    count = sum(frames for _, frames in clips)
    numbers = iter(range(count))
    return [np.stack([np.full(size, next(numbers), np.uint8) for _ in range(frames)]) for size, frames in clips]


def fill(clips: list[np.ndarray], room: int) -> tuple[list[PairBatch], list[list[Piece]]]:
    sent: list[PairBatch] = []
    filler = Filler(lambda height, width: PairBatch(room), sent.append)
    pieces = [list(filler.add(frames)) for frames in clips]
    filler.flush()
    return sent, pieces


@given(Clips, st.integers(1, 7))
def test_each_pair_is_solved_once_and_found_again(shapes: list[tuple[tuple[int, int], int]], room: int) -> None:
    clips = numbered(shapes)
    sent, pieces = fill(clips, room)
    for batch in sent:
        first, second = batch.frames()
        assert len({part.shape[1:] for part in batch.parts}) == 1
        assert 0 < len(first) == len(second) == batch.pairs <= room
        batch.flow.set_result(np.stack((first, second), axis=-1))
    for frames, of_clip in zip(clips, pieces, strict=True):
        found = np.concatenate([piece.batch.flow.result()[piece.start : piece.stop] for piece in of_clip])
        np.testing.assert_array_equal(found, np.stack((frames[:-1], frames[1:]), axis=-1))


@given(Clips, st.integers(1, 7))
def test_batches_end_early_only_where_the_size_changes(shapes: list[tuple[tuple[int, int], int]], room: int) -> None:
    sent, _ = fill(numbered(shapes), room)
    for batch, after in itertools.pairwise(sent):
        assert batch.pairs == room or batch.parts[0].shape[1:] != after.parts[0].shape[1:]


def test_a_batch_is_free_once_its_last_piece_is_used() -> None:
    used = []
    batch = PairBatch(9, on_used=lambda: used.append(True))
    pieces = [batch.add(np.zeros((3, 2, 2), np.uint8)) for _ in range(3)]
    for piece in pieces:
        assert not used
        piece.batch.release()
    assert used == [True]


@pytest.mark.parametrize(
    ("pixels", "most", "on_cpu", "pairs"),
    [
        (340 * 256, 128, True, 1),
        (64 * 64, 128, True, 32),
        (64 * 64, 5, True, 5),
        (340 * 256, 128, False, 128),
        (1920 * 1080, 128, False, 8),
        (10 * MOST_PIXELS_CPU, 128, True, 1),
        (10 * MOST_PIXELS_GPU, 128, False, 1),
    ],
)
def test_how_many_are_solved_together(pixels: int, most: int, on_cpu: bool, pairs: int) -> None:
    assert pairs_in_batch(pixels, most, on_cpu=on_cpu) == pairs
