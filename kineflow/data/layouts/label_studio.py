"""Label Studio: its export in JSON (not JSON-MIN), of videos with a class each, or with labelled parts.

An entry is a task::

    {"data": {"video": "/data/upload/1/1a2b3c4d-clip.mp4"},
     "annotations": [{"was_cancelled": false, "result": [
        {"type": "choices", "from_name": "action", "value": {"choices": ["Fight"]}},
        {"type": "timelinelabels", "value": {"ranges": [{"start": 12, "end": 40}], "timelinelabels": ["Run"]}}]}]}

The video is the value in ``data`` that ends as videos do (``video`` is taken first); its file is found in the source by
its path or name. Choices are the class of all of it. Labels on the timeline are parts; they count frames, at the
``frameRate`` of the project's Video tag, which is not exported: it is read from ``data.fps``. Labels with ``start`` and
``end`` in seconds, as of sound and video together, are parts as well. ``data.split`` and ``data.group`` hold where they
are there; else a clip is ``train``, and the group is the video.

A task without an annotation is unlabelled; so is one whose annotators disagree, with a warning. An annotation that is
marked as ground truth outweighs the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from kineflow.data.layouts.exported import find_exported, is_video
from kineflow.data.layouts.json_lists import rows_of, text_of
from kineflow.data.layouts.registry import register_layout
from kineflow.data.layouts.rows import ListedClip, Listing, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown

_Part = tuple[str, float | None, float | None]  # class, and the seconds from which and to which; None: all
_TIMELINE = "timelinelabels"
_LOG = logging.getLogger(__name__)


@register_layout("label_studio")
def list_label_studio(lists: Lists, videos: Videos, *, split_number: int) -> Listing:  # noqa: ARG001  there is one split
    """Read the one JSON export.

    Raises:
        KineflowError: There is none, or several; a task names no video, or its labels cannot be told.
    """
    names = lists.matching(r".+\.json")
    if len(names) != 1:
        raise KineflowError(
            f"several JSON files: {', '.join(names[:3])}" if names else "no JSON file here",
            where=lists.source.root,
            remedy="name the file that Label Studio exported (format JSON) in ingestion.annotations",
        )
    clips: list[ListedClip] = []
    disagreeing = 0
    tasks = list(rows_of(lists, names[0]))
    controls = {control for task, where in tasks for control in _controls(task, where)}
    if len(controls) > 1:
        raise KineflowError(
            f"classes of several questions: {', '.join(map(shown, sorted(controls)))}",
            where=f"{lists.source.root}/{names[0]}",
            remedy="export a project that asks for one class, or remove the other results",
        )
    for task, where in tasks:
        answers = {_parts(annotation, task, where) for annotation in _annotations(task, where)}
        disagreeing += len(answers) > 1
        parts = next(iter(answers)) if len(answers) == 1 else ()
        clips.extend(_clips(task, parts, where, videos))
    if disagreeing:
        _LOG.warning("%s: tasks whose annotators disagree, taken as unlabelled: %d", names[0], disagreeing)
    return Listing(tuple(sorted({clip.label for clip in clips if clip.label is not None})), tuple(clips))


def _annotations(task: Mapping[str, Any], where: str) -> Sequence[Mapping[str, Any]]:
    """Those that count: not cancelled, with a result, and the ground truth alone where there is one."""
    if "annotations" not in task:
        raise KineflowError(
            "a task without annotations: this is no export in JSON",
            where=where,
            remedy="export in the format JSON, not JSON-MIN or CSV",
        )
    every = _objects(task["annotations"], "annotations", where)
    valid = [each for each in every if not each.get("was_cancelled") and each.get("result")]
    return [each for each in valid if each.get("ground_truth")] or valid


def _results(annotation: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each result, and its value."""
    for result in _objects(annotation["result"], "result", where):
        value = result.get("value")
        if isinstance(value, Mapping):
            yield result, value


def _controls(task: Mapping[str, Any], where: str) -> set[str]:
    return {
        str(result.get("from_name", ""))
        for annotation in _annotations(task, where)
        for result, _ in _results(annotation, where)
        if result.get("type") == "choices"
    }


def _parts(annotation: Mapping[str, Any], task: Mapping[str, Any], where: str) -> tuple[_Part, ...]:
    """What one annotator says of a video, in order."""
    parts: set[_Part] = set()
    for result, value in _results(annotation, where):
        kind = result.get("type")
        if kind == "choices":
            parts.add((_one_label(value, "choices", where), None, None))
        elif kind == _TIMELINE:
            fps = _fps(task, where)
            for span in _objects(value.get("ranges"), "ranges", where):
                start, end = (_number(span, key, where) for key in ("start", "end"))
                parts.add(
                    (_one_label(value, _TIMELINE, where), max(0.0, start - 1) / fps, end / fps)
                )  # frames from 1 on
        elif kind == "labels" and {"start", "end"} <= value.keys():
            start, end = (_number(value, key, where) for key in ("start", "end"))
            parts.add((_one_label(value, "labels", where), start, end))
    spans = {part for part in parts if part[1] is not None}
    return tuple(sorted(spans or parts, key=str))  # the class of a video whose parts are labelled is that of none


def _one_label(value: Mapping[str, Any], key: str, where: str) -> str:
    labels = value.get(key)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str) or not labels[0].strip():
        raise KineflowError(
            f"{key} are {shown(str(labels))}, where one class is expected",
            where=where,
            remedy="give each video or part one class",
        )
    return labels[0].strip()


def _fps(task: Mapping[str, Any], where: str) -> float:
    data = task.get("data")
    fps = data.get("fps") if isinstance(data, Mapping) else None
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not fps > 0:
        raise KineflowError(
            "labels on the timeline count frames, and the export does not say how many a second has",
            where=where,
            remedy="add fps to the data of each task: the frameRate of the project's Video tag, 24 where it has none",
        )
    return float(fps)


def _number(values: Mapping[str, Any], key: str, where: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KineflowError(f"{key} is no number: {shown(str(value))}", where=where, remedy="label this part again")
    return float(value)


def _objects(value: Any, key: str, where: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise KineflowError(f"{key} is no array of objects", where=where, remedy="export it again, in the format JSON")
    return value


def _clips(task: Mapping[str, Any], parts: Sequence[_Part], where: str, videos: Videos) -> Iterator[ListedClip]:
    data = task.get("data")
    if not isinstance(data, Mapping):
        raise KineflowError("a task without data", where=where, remedy="export it again, in the format JSON")
    address = _address(data, where)
    video = find_exported(address, videos)
    group = text_of(data, "group", where=where) or PurePosixPath(video.source).with_suffix("").as_posix()
    split = _split(data, where)
    if not parts and split in (Split.VAL, Split.TEST):
        raise KineflowError(
            f"no label of a task in split {split}, which is scored by labels", where=where, remedy="label it"
        )
    for label, start_sec, end_sec in parts if parts and split is not Split.UNLABELLED else [(None, None, None)]:
        yield ListedClip(
            source=video.source,
            label=label,
            split=Split.UNLABELLED if label is None else split,
            group=group,
            listed_at=where,
            start_sec=start_sec,
            end_sec=end_sec,
            missing=video.missing,
        )


def _address(data: Mapping[str, Any], where: str) -> str:
    values = [data.get("video"), *data.values()]
    for value in values:
        if isinstance(value, str) and is_video(value):
            return value
    raise KineflowError(
        "a task whose data name no video", where=where, remedy="remove it, or correct the path of its video"
    )


def _split(data: Mapping[str, Any], where: str) -> Split:
    split = text_of(data, "split", where=where)
    if not split:
        return Split.TRAIN
    if split not in (known := [each.value for each in Split]):
        raise KineflowError(f"unknown split {shown(split)}", where=where, remedy=f"known splits: {', '.join(known)}")
    return Split(split)
