"""How videos become a clip set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from kineflow.data.layouts.registry import check_layout
from kineflow.spec.video_bounds import MAX_FILE_FRAMES, MAX_FRAMES
from kineflow.storage.config import LocalFolder, Params, RootFolder, faults_of_a_key

CLIP_SETS = "clip_sets"
"""The layout of a source whose clips are ingested already."""
Side = Annotated[int, Field(ge=16, le=4096)]


class LinkedFolder(Params):
    """A folder outside of the source that links in it may lead into."""

    path: LocalFolder = Field(min_length=1, json_schema_extra={"is_input": True})
    """Of the folder, such as ``/mnt/disk2/videos``; what is below it may be read through links."""


class IngestSettings(Params):
    """Where the videos are, how they are listed, and the form in which they are stored."""

    source: RootFolder = Field("data", json_schema_extra={"is_input": True})
    """Folder, or ``s3://bucket/prefix``, that holds the videos."""

    linked_folders: tuple[LinkedFolder, ...] = ()
    """Folders outside of ``source`` that links in it may lead into, as ``[{path: /mnt/disk2/videos}]``; a link to
    anywhere else is not followed, and its videos are rejected with that reason."""

    layout: str = "csv"
    """How the videos are listed: ``csv``; ``folder`` (folders called as the classes, no list); ``ucf101``, ``hmdb51``,
    ``kinetics``, ``something`` (Something-Something v2), ``ucf11`` (no list), ``hollywood2`` (several classes a clip);
    ``label_studio``, ``cvat`` (what these tools export); or a layout of your own by its dotted path,
    ``my_package.my_layout``. ``clip_sets``: ``source`` holds clip sets of other runs, a folder each, which are joined
    as they are."""

    annotations: RootFolder = Field("", json_schema_extra={"is_input": True})
    """Folder with the lists, or one list (``.csv``, ``.json``, ``.xml``); empty: below ``source`` (``clips.csv`` for
    the layout csv)."""

    split_number: int = Field(1, ge=1, le=3)
    """Which official split of UCF101 or HMDB51."""

    val_share: float = Field(0.1, ge=0, lt=1)
    """Share of a class's training groups held out as val, where the lists have no val split; 0 holds out none."""

    short_side: int = Field(256, ge=16, le=4096)
    """Longest the shorter side of a stored clip may be, in pixels; smaller videos keep their size."""

    size: tuple[Side, ...] = ()
    """Width and height of every stored clip, such as ``[340, 256]``, in place of ``short_side``: smaller videos are
    enlarged, and other aspects squeezed. Flow is computed at this size; a model brings any video that it is shown to
    it. Empty: ``short_side`` decides. The papers on UCF101 and HMDB51 have 340x256, or 342x256."""

    fps: float = Field(0.0, ge=0, le=240, allow_inf_nan=False)
    """Frames per second of stored clips, by time stamps: at each moment the source's nearest frame, repeated where the
    source is slower and left out where it is faster; 0 keeps the source's own. Where sources differ in their rate, one
    rate lets the same motion look the same to a network. Windows of training and tests are counted in these frames, and
    a model brings any video that it is shown to the rate that it was trained at."""

    gop: int = Field(12, ge=1, le=250)
    """Most frames from one key frame to the next: fewer seek faster and take more space."""

    crf: int = Field(20, ge=0, le=51)
    """x264's constant rate factor: 0 is lossless, 18 looks it, higher is smaller and decoded sooner."""

    min_frames: int = Field(2, ge=1)
    """Fewest frames of a clip; shorter ones are rejected."""

    max_frames: int = Field(MAX_FRAMES, ge=1, le=MAX_FILE_FRAMES)
    """Most frames of a clip; longer ones are rejected. The video that a clip is a part of may have more, up to five
    million."""

    workers: int = Field(2, ge=1, le=256)
    """Videos decoded and encoded at a time."""

    endpoint_url: str = ""
    """Of the S3 server of ``source`` and ``annotations``, where the environment or ``~/.aws/config`` names another one;
    stored videos go to the latter, where later steps look for them."""

    media_root: RootFolder = ""
    """Where the stored videos are kept: a folder, such as a shared volume, or ``s3://bucket/prefix``; empty: in the
    project's store ``media``, or outside of a project inside the clip set."""

    @field_validator("size")
    @classmethod
    def _a_size_is_two_even_sides(cls, size: tuple[int, ...]) -> tuple[int, ...]:
        if size and (len(size) != 2 or any(side % 2 for side in size)):
            raise ValueError("must be a width and a height, both even, or empty")
        return size

    @property
    def exact_size(self) -> tuple[int, int] | None:
        """``size``, if there is one."""
        return (self.size[0], self.size[1]) if self.size else None

    @property
    def may_have_several_splits(self) -> bool:
        """Whether ``split_number`` says anything: of our layouts to two, of one's own to any."""
        return self.layout in ("ucf101", "hmdb51") or "." in self.layout

    @field_validator("layout")
    @classmethod
    def _there_is_such_a_layout(cls, layout: str) -> str:
        if layout != CLIP_SETS:
            with faults_of_a_key():
                check_layout(layout)
        return layout
