"""What attention is compared with: where the actors of a clip are, from a file of boxes or from synthetic truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kineflow.data.boxes import Track, read_boxes
from kineflow.data.ucf101_24 import is_published, read_published_boxes, require_own_rate
from kineflow.evaluation.attention.settings import LocaliseSettings
from kineflow.evaluation.localisation import TrueTube, Tube
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.synth.boxes import track_of_masks
from kineflow.synth.dataset import truth_path
from kineflow.synth.truth import load_truth


@dataclass(frozen=True, eq=False)
class ClipTruth:
    """Where the actors of one clip are.

    Attributes:
        tubes: One for each actor.
        region: All that actors cover: their masks where those are known, else their boxes; bool [n, H, W].
    """

    tubes: tuple[TrueTube, ...]
    region: npt.NDArray[np.bool_]


TruthOf = Callable[[Clip], ClipTruth]


def clips_and_truth(clip_set: ClipSet, settings: LocaliseSettings) -> tuple[Sequence[Clip], TruthOf | None]:
    """The clips to look at, and the truth of each where there is any.

    Raises:
        KineflowError: The split is empty, or the truth is not of these clips, or of their frames.
    """
    clips = clip_set.usable(Split(settings.split))
    if not clips:
        raise KineflowError(
            f"the clip set has no usable clip in the split {settings.split!r}", remedy="choose another split"
        )
    if settings.synthetic:
        return clips, lambda clip: synthetic_truth(Path(settings.synthetic), clip)
    if not settings.boxes:
        return clips, None
    path = Path(settings.boxes)
    if is_published(path):
        require_own_rate(clip_set.fps, where=settings.boxes)
    tracks = read_published_boxes(path, clips) if is_published(path) else read_boxes(path)
    marked = [clip for clip in clips if clip.clip_id in tracks]
    if not marked:
        raise KineflowError(
            f"none of the {len(clips)} clips of the split {settings.split!r} has boxes; the file names clips such as "
            f"{next(iter(tracks), 'none')!r}, the clip set such as {clips[0].clip_id!r}",
            where=settings.boxes,
            remedy="write the clip set's ids in the column clip",
        )
    return marked, lambda clip: marked_truth(tracks, clip)


def marked_truth(tracks: Mapping[str, Sequence[Track]], clip: Clip) -> ClipTruth:
    """Truth from boxes, which are scaled to the clip as it is stored.

    Raises:
        KineflowError: A box lies beyond the clip's last frame.
    """
    of_clip = tracks[clip.clip_id]
    last = max(int(track.frames.max()) for track in of_clip)
    if last >= clip.frames:
        raise KineflowError(
            f"a box in frame {last} of clip {clip.clip_id!r}, which has {clip.frames} frames",
            where="the file of boxes",
            remedy="number frames from 0, as they are in the ingested clip",
        )
    return _truth(of_clip, clip, None)


def synthetic_truth(folder: Path, clip: Clip) -> ClipTruth:
    """Truth of a synthetic clip that was ingested from ``folder``.

    Raises:
        KineflowError: The folder has no truth of this clip, or one of another length.
    """
    path = truth_path(folder, clip.source)
    masks = load_truth(path).mask
    if len(masks) != clip.frames:
        raise KineflowError(
            f"truth of {len(masks)} frames, and clip {clip.clip_id!r} has {clip.frames}",
            where=path,
            remedy="give the folder that these clips were ingested from",
        )
    return _truth([track_of_masks(masks, clip=clip.clip_id, label=clip.label or "")], clip, masks)


def _truth(tracks: Sequence[Track], clip: Clip, masks: npt.NDArray[np.bool_] | None) -> ClipTruth:
    import cv2

    size = {"width": clip.width, "height": clip.height}
    tubes = tuple(TrueTube(clip.clip_id, track.label, Tube(track.frames, track.boxes_at(**size))) for track in tracks)
    if masks is not None:
        scaled = [cv2.resize(mask.astype(np.uint8), (clip.width, clip.height)) > 0 for mask in masks]
        return ClipTruth(tubes, np.stack(scaled))
    return ClipTruth(tubes, _filled([truth.tube for truth in tubes], clip))


def _filled(tubes: Sequence[Tube], clip: Clip) -> npt.NDArray[np.bool_]:
    """The pixels whose centre lies in a box, one at least; bool [n, H, W]."""
    region = np.zeros((clip.frames, clip.height, clip.width), bool)
    for tube in tubes:
        edges = np.ceil(tube.boxes - 0.5).astype(int)
        first = np.minimum(edges[:, :2], (clip.width - 1, clip.height - 1))
        last = np.maximum(edges[:, 2:], first + 1)
        for frame, (left, top), (right, bottom) in zip(tube.frames, first, last, strict=True):
            region[frame, top:bottom, left:right] = True
    return region
