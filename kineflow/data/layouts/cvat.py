"""CVAT: what it exports of videos as XML, ``CVAT for images 1.1`` with tags of frames, or ``CVAT for video 1.1``.

One file a task or a project, of any name::

    <annotations>
      <meta><task><id>7</id><source>clip.mp4</source><frame_filter>step=2</frame_filter>…</task></meta>
      <image id="0" name="frame_000000"><tag label="fight" source="manual"/></image>
      <track id="0" label="run"><box frame="4" outside="0" …/><box frame="9" outside="1" …/></track>
    </annotations>

The source is found among the videos by its name. Tags are classes. A tag on one frame of a task, alone in it, is the
class of the whole video. Else frames that follow each other with one tag are a part, and every part is a clip. Where a
task has no tag at all, tracks are parts: from the frame in which their shape appears to the one where it is
``outside``. A task with neither is unlabelled. ``subset`` gives the split, where it is called as one (``Train``,
``Validation``, ``Test``); else a clip is ``train``. The group is the video.

A task is one video; tasks of pictures are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from kineflow.data.layouts.cvat_xml import Task, read_tasks
from kineflow.data.layouts.exported import find_exported, is_video
from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.data.source import read_text
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown

_SPLITS = {"train": Split.TRAIN, "val": Split.VAL, "validation": Split.VAL, "test": Split.TEST}


@register_layout("cvat")
def list_cvat(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """Read all XML files.

    Raises:
        KineflowError: There is none, or one is no export of a video; file and line are named.
    """
    names = lists.matching(r".+\.xml")
    if not names:
        raise KineflowError(
            "no XML file here",
            where=lists.source.root,
            remedy="unpack CVAT's export, and name its annotations.xml, or the folder of several, in "
            "ingestion.annotations",
        )
    clips = [clip for name in names for clip in _read(lists, name, videos)]
    return Listing(tuple(sorted({clip.label for clip in clips if clip.label is not None})), tuple(clips))


def _read(lists: Lists, name: str, videos: Videos) -> Iterator[ListedClip]:
    path = f"{lists.source.root}/{name}"
    for task in read_tasks(read_text(lists.source, name), where=path):
        if not is_video(task.source):
            raise KineflowError(
                f"{shown(task.source)} is no video" if task.source else "a task without a source",
                where=f"{path}:{task.line}",
                remedy="export tasks of one video each; tasks of pictures are no clips",
            )
        yield from _clips(task, path, videos)


def _clips(task: Task, path: str, videos: Videos) -> Iterator[ListedClip]:
    video = find_exported(task.source, videos)
    # Two tracks may say the same of the same frames, as of two people who run.
    parts: dict[tuple[str | None, int | None, int | None], int] = {}
    for part in task.parts():
        parts.setdefault(part[:3], part[3])
    split = _SPLITS.get(task.subset.casefold(), Split.TRAIN)
    for (label, first, stop), line in (parts or {(None, None, None): task.line}).items():
        if label is None and split in (Split.VAL, Split.TEST):
            continue  # it cannot be scored
        yield ListedClip(
            source=video.source,
            label=label,
            split=split if label is not None else Split.UNLABELLED,
            group=PurePosixPath(video.source).with_suffix("").as_posix(),
            listed_at=f"{path}:{line}",
            missing=video.missing,
            start_frame=first,
            end_frame=stop,
        )
