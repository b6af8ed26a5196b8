"""Whether folds of whole groups can judge every class: known from the list, before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kineflow.storage.errors import KineflowError


def require_groups(
    clips: Iterable[tuple[str | None, str]], classes: Sequence[str], *, where: str | None = None
) -> None:
    """Check that every class can be in training and judged at once.

    Args:
        clips: Label and group of each clip that is learnt from.
        classes: All that are to be told apart.
        where: Of the clips, for the message.

    Raises:
        KineflowError: There is one class, or the clips of one are all of one group.
    """
    if len(classes) < 2:
        raise KineflowError("the labelled clips have one class", where=where, remedy="add clips of a second class")
    groups: dict[str | None, set[str]] = {}
    for label, group in clips:
        groups.setdefault(label, set()).add(group)
    few = [name for name in classes if len(groups.get(name, ())) < 2]
    if few:
        more = f" and of {len(few) - 1} more classes" if len(few) > 1 else ""
        raise KineflowError(
            f"the clips of {few[0]!r}{more} are of one group or none: whatever learnt them "
            "could not be judged on another",
            where=where,
            remedy="add clips of these classes from other recordings, or correct the column `group` of the list",
        )
