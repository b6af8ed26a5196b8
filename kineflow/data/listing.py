"""What the lists of a data set say of a source, before any video is opened: ingest and the check of a run begin so."""

from __future__ import annotations

from dataclasses import dataclass

from kineflow.data.ingest_settings import IngestSettings
from kineflow.data.layouts import Listing, list_clips, open_lists
from kineflow.data.source import Source, open_source
from kineflow.storage.errors import KineflowError


@dataclass(frozen=True)
class ListedSource:
    """A source, and the clips that its lists name; some of their files may not be there."""

    source: Source
    listing: Listing


def list_source(settings: IngestSettings) -> ListedSource:
    """Open a source and read its lists.

    Raises:
        KineflowError: The source is none or empty, or a list is missing or malformed.
    """
    linked = [folder.path for folder in settings.linked_folders]
    source = open_source(settings.source, endpoint_url=settings.endpoint_url, linked=linked)
    names = source.names()
    if not names:
        raise KineflowError("the source is empty", where=source.root, remedy="put videos and their lists there")
    lists = open_lists(source, settings.annotations, endpoint_url=settings.endpoint_url, linked=linked)
    listing = list_clips(settings.layout, lists, names, split_number=settings.split_number, root=source.root)
    return ListedSource(source, listing)
