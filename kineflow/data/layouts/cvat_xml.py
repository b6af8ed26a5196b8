"""What CVAT's XML says of the frames of a task: which have a tag, and in which tracks are there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from kineflow.spec.video_bounds import MAX_FILE_FRAMES
from kineflow.storage.errors import KineflowError
from kineflow.storage.names import shown
from kineflow.storage.safe_xml import XmlElement, walk_xml

Part = tuple[str, int | None, int | None, int]
"""A class, the frames from and to which (exclusive) it holds, None for all of the video, and the line that says so."""

_OF_TASK = ("task", "job")
_SHAPES = ("box", "polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton")
_FRAME = re.compile(r"(?:.*/)?frame_(\d{1,9})(?:\.\w+)?", re.ASCII)
_STEP = re.compile(r"step=(\d{1,6})", re.ASCII)
_MOST_DIGITS = 9


@dataclass
class Task:
    """What a file says of one task.

    Attributes:
        line: Where it begins.
        source: Name of its video.
        step: Frames of the video from one that was labelled to the next.
        subset: Of the project.
        tagged: Frames that have a tag, by class.
        tagged_at: Line of the first tag of a class.
        tracked: Of each track its class, its frames (whether it is there), and its line.
    """

    line: int
    source: str = ""
    step: int = 1
    subset: str = ""
    tagged: dict[str, set[int]] = field(default_factory=dict)
    tagged_at: dict[str, int] = field(default_factory=dict)
    tracked: list[tuple[str, dict[int, bool], int]] = field(default_factory=list)

    def parts(self) -> Iterator[Part]:
        """The labelled parts of the video."""
        if len(self.tagged) == 1 and all(len(frames) == 1 for frames in self.tagged.values()):
            label = next(iter(self.tagged))
            yield label, None, None, self.tagged_at[label]
            return
        for label, frames in sorted(self.tagged.items()):
            for first, stop in runs(frames, self.step):
                yield label, first, stop, self.tagged_at[label]
        if not self.tagged:
            for label, shapes, line in self.tracked:
                for first, stop in shown_spans(shapes, self.step):
                    yield label, first, stop, line


def runs(frames: Collection[int], step: int) -> list[tuple[int, int]]:
    """First frame and the one after the last of all that follow each other, ``step`` apart at most."""
    spans: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if spans and frame <= spans[-1][1]:
            spans[-1] = (spans[-1][0], frame + step)
        else:
            spans.append((frame, frame + step))
    return spans


def shown_spans(shapes: Mapping[int, bool], step: int) -> list[tuple[int, int]]:
    """First frame and the one after the last of each time a track is there.

    It is there from a frame with its shape to the next where that is outside; frames between are not always written.
    """
    spans: list[tuple[int, int]] = []
    begin = last = -1
    for frame, is_there in sorted(shapes.items()):
        if is_there:
            begin, last = (frame if begin < 0 else begin), frame
        elif begin >= 0:
            spans.append((begin, frame))
            begin = -1
    return spans if begin < 0 else [*spans, (begin, last + step)]


def read_tasks(text: str, *, where: str) -> list[Task]:
    """The tasks of an export.

    Args:
        text: The XML.
        where: Its file, for messages.

    Raises:
        KineflowError: It is no XML or no export of CVAT's, or an element of it is malformed.
    """
    reader = _Reader(where)
    try:
        for element in walk_xml(text):
            reader.take(element)
    except ValueError as error:
        raise KineflowError(f"no readable XML: {error}", where=where, remedy="export it from CVAT again") from None
    return list(reader.tasks.values())


class _Reader:
    """Gathers tasks, element by element."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.tasks: dict[str, Task] = {}
        self._current: Task | None = None
        self._image, self._image_task = 0, ""
        self._track: dict[int, bool] = {}

    def take(self, element: XmlElement) -> None:
        """The beginning or the end of an element."""
        match element.path[1:]:
            case _ if element.path[0] != "annotations":
                raise self._fault(element, f"{shown(element.path[0])} is no export of CVAT")
            case ("meta", *_):
                self._take_meta(element)
            case ("image",) if element.is_start:
                self._image, self._image_task = self._number_of(element), element.attributes.get("task_id", "")
            case ("image", "tag") if element.is_start:
                task, label = self._task(self._image_task, element), self._label(element)
                task.tagged.setdefault(label, set()).add(self._image)
                task.tagged_at.setdefault(label, element.line)
            case ("track",) if element.is_start:
                self._track = {}
            case ("track", shape) if element.is_start and shape in _SHAPES:
                self._track[self._whole(element, "frame")] = element.attributes.get("outside") != "1"
            case ("track",):
                task = self._task(element.attributes.get("task_id", ""), element)
                task.tracked.append((self._label(element), self._track, element.line))

    def _take_meta(self, element: XmlElement) -> None:
        if element.name in _OF_TASK and element.is_start:
            self._current = Task(element.line)
            self.tasks[f"#{len(self.tasks)}"] = self._current
        elif element.is_start or self._current is None:
            return
        elif element.name == "source" and element.path[-2] in (*_OF_TASK, "meta"):
            self._current.source = element.text
        elif element.path[-2] not in _OF_TASK:
            return
        elif element.name == "id":
            self.tasks[element.text] = self.tasks.pop(next(reversed(self.tasks)))
        elif element.name == "subset":
            self._current.subset = element.text
        elif element.name == "frame_filter" and (match := _STEP.search(element.text)):
            self._current.step = max(1, int(match[1]))

    def _task(self, task_id: str, element: XmlElement) -> Task:
        """The task of an element: the one that it names, or the only one."""
        if task_id in self.tasks:
            return self.tasks[task_id]
        if len(self.tasks) == 1:
            return next(iter(self.tasks.values()))
        raise self._fault(element, f"<{element.name}> is of no task in <meta>")

    def _label(self, element: XmlElement) -> str:
        if label := element.attributes.get("label", "").strip():
            return label
        raise self._fault(element, f"<{element.name}> without a label")

    def _number_of(self, image: XmlElement) -> int:
        """The number of a frame in its video: by its name, for a project counts the frames of all its tasks."""
        match = _FRAME.fullmatch(image.attributes.get("name", ""))
        return int(match[1]) if match else self._whole(image, "id")

    def _whole(self, element: XmlElement, key: str) -> int:
        text = element.attributes.get(key, "")
        is_whole = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
        if not is_whole or int(text) > MAX_FILE_FRAMES:
            raise self._fault(element, f"{key} of <{element.name}> is no number of a frame: {shown(text)}")
        return int(text)

    def _fault(self, element: XmlElement, problem: str) -> KineflowError:
        where = f"{self._path}:{element.line}"
        return KineflowError(problem, where=where, remedy="export the task from CVAT again, or remove the element")
