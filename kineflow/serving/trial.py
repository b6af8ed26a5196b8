"""Whether a bundle answers at all: it is loaded once and asked about two short videos, before anybody relies on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kineflow.evaluation.view_protocol import ONE_VIEW
from kineflow.models.bundle import load_bundle
from kineflow.models.card import ModelCard
from kineflow.serving.predict import predict_video
from kineflow.storage.errors import KineflowError

_SIDE_PX = 64
_REMEDY = "train it again: such a model has learnt nothing, or its weights were lost"


def example_video(card: ModelCard) -> bytes:
    """A short H.264 mp4 of a bright square that moves over a dark ground: one clip long, at most 64 frames."""

    def frames(count: int) -> Iterator[np.ndarray]:
        for number in range(count):
            image = np.full((_SIDE_PX, _SIDE_PX, 3), 32, np.uint8)
            left = number % (_SIDE_PX - 16)
            image[24:40, left : left + 16] = (224, 160, 64)
            yield image

    return _video(card, frames(_frames(card)))


def try_bundle(bundle: Path) -> None:
    """Ask a model about two different videos.

    Raises:
        KineflowError: It cannot be loaded or asked, an answer is no number, all its weights are 0, or it answers the
            same to both.
    """
    network, card = load_bundle(bundle)
    where = f"model {card.name!r}"
    if not any(bool(tensor.any()) for tensor in network.state_dict().values() if tensor.dim() > 1):
        raise KineflowError("all its weights are 0", where=where, remedy=_REMEDY)
    one, other = (predict_video(video, network, card, views=ONE_VIEW) for video in (example_video(card), _noise(card)))
    if len(card.classes) > 1 and np.array_equal(one, other):
        raise KineflowError("two different videos get the same answer, to the last bit", where=where, remedy=_REMEDY)


def _noise(card: ModelCard) -> bytes:
    draws = np.random.default_rng(0)
    pictures = (draws.integers(256, size=(8, 8, 3), dtype=np.uint8) for _ in range(_frames(card)))
    return _video(card, (picture.repeat(8, axis=0).repeat(8, axis=1) for picture in pictures))


def _frames(card: ModelCard) -> int:
    wanted = card.preprocessing
    return min((wanted.frames - 1) * wanted.stride_frames + wanted.flow_frames + 1, 64)


def _video(card: ModelCard, frames: Iterator[np.ndarray]) -> bytes:
    from kineflow.video.encode import write_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "example.mp4"
        write_video(path, frames, fps=card.preprocessing.fps or 25.0, crf=30)
        return path.read_bytes()
