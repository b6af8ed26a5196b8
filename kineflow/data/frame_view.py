"""Frames of a clip as a sample shows them, named and not yet decoded: whoever has them may decode where it likes."""

from __future__ import annotations

from dataclasses import dataclass

from kineflow.data import transforms
from kineflow.storage.media import Media
from kineflow.video.decode import read_frames


@dataclass(frozen=True)
class FrameView:
    """What a sample shows of a clip's pictures.

    Attributes:
        path: Of the clip.
        frames: The clip has so many.
        height, width: Of the clip, px.
        indices: Frames to show, in any order, repeats allowed.
        short_side: Of the frames before the view is cut out of them, px.
        view: What is cut out.
    """

    path: Media
    frames: int
    height: int
    width: int
    indices: tuple[int, ...]
    short_side: int
    view: transforms.View

    def read(self) -> transforms.Frames:
        """Decode on the CPU, as :class:`kineflow.data.dataset.ClipDataset` does: uint8 [T, S, S, 3].

        Raises:
            KineflowError: As :func:`kineflow.video.decode.read_frames`.
        """
        return read_frames(self.path, self.indices, each=self._shown)

    def _shown(self, image: transforms.Frames) -> transforms.Frames:
        image = transforms.resize(image[None], self.height, self.width)
        seen: transforms.Frames = transforms.shown(image, self.view, self.short_side)[0]
        return seen
