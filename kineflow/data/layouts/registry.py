"""Layouts by name: how the lists of a data set are read.

A layout is a file of this folder, or a module of the user's own, with one function, registered by the name that
``ingestion.layout`` gives (the user's own with its package before it, ``my_package.lab``)::

    @register_layout("ucf101")
    def list_ucf101(lists: Lists, videos: Videos, *, split_number: int) -> Listing: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from kineflow.data.layouts.rows import Listing, Lists
from kineflow.data.layouts.videos import Videos
from kineflow.spec.plugins import Plugins


class ListClips(Protocol):
    """A layout: list files to rows; no video is opened."""

    __name__: str

    def __call__(self, lists: Lists, videos: Videos, *, split_number: int) -> Listing:
        """Read the lists.

        Args:
            lists: The data set's list files.
            videos: Names of the videos that there are.
            split_number: 1, 2 or 3, of layouts with several official splits.

        Raises:
            KineflowError: A list file is missing or malformed (file and line are named).
        """


AnyLayout = TypeVar("AnyLayout", bound=ListClips)

_LAYOUTS: Plugins[ListClips] = Plugins("kineflow.data.layouts", "layout", "register_layout")


def register_layout(name: str) -> Callable[[AnyLayout], AnyLayout]:
    """Make a function known as the layout ``name``."""

    def register(list_clips: AnyLayout) -> AnyLayout:
        _LAYOUTS.register(list_clips, name)
        return list_clips

    return register


def check_layout(name: str) -> None:
    """Check the name of a layout; nothing is imported.

    Raises:
        KineflowError: There is none.
    """
    _LAYOUTS.declaration(name)


def find_layout(name: str) -> ListClips:
    """The layout of this name.

    Raises:
        KineflowError: There is none.
    """
    return _LAYOUTS.find(name)
