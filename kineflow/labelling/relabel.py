"""From answers to the project's list: its text with other labels, and every other byte as it was.

A clip that gets its first label goes from the split ``unlabelled`` to ``train``; one whose label is corrected keeps its
split. Nothing is changed where anything is wrong, and all of that is told at once.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kineflow.data.layouts import ListedClip, Lists, list_clips
from kineflow.data.layouts.checks import checked_path, settled
from kineflow.data.layouts.videos import Videos
from kineflow.data.source import LocalSource, read_text
from kineflow.labelling.answers import Answer, read_answers
from kineflow.labelling.cells import Cells
from kineflow.spec.classes import several_classes
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError, raise_together
from kineflow.storage.files import atomic_file
from kineflow.storage.names import printable, shown
from kineflow.storage.spreadsheet import as_given

_SHOWN = 10
_BOM = "\ufeff"
_Key = tuple[str, int, int | None, int | None, int | None]


@dataclass(frozen=True)
class Relabelled:
    """What answers change in a list.

    Attributes:
        text: Of the list, as it is afterwards.
        labelled: How many clips without a label got one, by class.
        corrected: How many got another label, by their new class.
        kept: How many have the label already that the answer gives.
        skipped: Rows of the answers without a label.
    """

    text: str
    labelled: Counter[str]
    corrected: Counter[str]
    kept: int
    skipped: int


def label_list(
    path: Path, answers: Path, *, root: str, new_classes: Sequence[str] = (), dry_run: bool = False
) -> Relabelled:
    """Take answers into a list of the layout ``csv``.

    The file is replaced, whole or not at all, where something in it changes; taking the same answers in again changes
    nothing.

    Args:
        path: Of the list.
        answers: A CSV file that the labelling page has saved, or that was filled in by hand.
        root: Of the source, with which paths may begin; empty where they do not.
        new_classes: Classes that the list does not have yet, and that answers may name.
        dry_run: Change nothing.

    Raises:
        KineflowError: The list or the answers cannot be read, or answers do not fit the list or each other: a clip that
            is not in it, two labels for one clip, a class that it does not have. All faults are in one message.
    """
    if path.is_symlink():
        raise KineflowError(
            "the list is a link, and would be replaced by a file",
            where=path,
            remedy="name the file itself with --list; where DVC has made the link: dvc unprotect",
        )
    listed = _ReadList.of(path, root)
    given, faults = read_answers(answers, root=root)
    result = _relabel(listed, given, faults, new_classes)
    raise_together(faults, where=answers, remedy="correct them; the list is as it was")
    if result.text != listed.cells.text and not dry_run:
        with atomic_file(path) as partial:
            partial.write_bytes((listed.bom + result.text).encode())
    return result


@dataclass(frozen=True)
class _ReadList:
    """A list as text, its rows as they stand, and the clips that they are, in the same order."""

    bom: str
    cells: Cells
    rows: tuple[Mapping[str, str], ...]
    clips: tuple[ListedClip, ...]
    root: str

    @classmethod
    def of(cls, path: Path, root: str) -> _ReadList:
        if not path.is_file():
            raise KineflowError("no such list", where=path, remedy="name the project's list with --list")
        source = LocalSource(path.parent)
        lists = Lists(source, only=path.name)
        rows = tuple(row for row, _ in lists.records(path.name, required=("path", "label", "split")))
        clips = list_clips("csv", lists, [as_given(row["path"]) for row in rows], root=root).clips
        if any(clip.also for clip in clips):
            raise several_classes("kineflow label")
        bom = _BOM if path.read_bytes().startswith(_BOM.encode()) else ""
        return cls(bom, Cells.of(read_text(source, path.name)), rows, clips, root)

    def column(self, name: str) -> int:
        """Place of a column."""
        return [column.strip() for column in self.cells.values(0)].index(name)

    def classes(self) -> list[str]:
        """All that rows name, those of labels that are held back too."""
        return sorted({as_given(row["label"]) for row in self.rows} - {""})


def _relabel(
    listed: _ReadList,
    answers: Sequence[Answer],
    faults: list[KineflowError],
    new_classes: Sequence[str],
) -> Relabelled:
    """What the answers change; what is wrong with them is added to ``faults``."""
    faults += _faults_of_classes([each for each in answers if each.label], listed.classes(), new_classes)
    chosen = dict(_matched(listed, answers, faults))
    label_at, split_at = listed.column("label"), listed.column("split")
    changes: dict[tuple[int, int], str] = {}
    labelled, corrected, kept = Counter[str](), Counter[str](), 0
    for place, answer in chosen.items():
        clip = listed.clips[place]
        if clip.label == answer.label:
            kept += 1
            continue
        record = place + 1  # after the header
        changes[record, label_at] = answer.label
        (labelled if clip.label is None else corrected)[answer.label] += 1
        if clip.label is None and listed.rows[place]["split"] != Split.TRAIN:
            changes[record, split_at] = str(Split.TRAIN)
    skipped = sum(not each.label for each in answers)
    return Relabelled(listed.cells.replaced(changes), labelled, corrected, kept, skipped)


def _matched(listed: _ReadList, answers: Sequence[Answer], faults: list[KineflowError]) -> Iterator[tuple[int, Answer]]:
    """Each row of the list for which there is an answer, with it."""
    by_part: dict[_Key, list[int]] = {}
    by_path: dict[str, list[int]] = {}
    for place, clip in enumerate(listed.clips):
        path = checked_path(clip.source, where=clip.listed_at, root=listed.root)
        by_part.setdefault(_key(path, clip), []).append(place)
        by_path.setdefault(_composed(path), []).append(place)
    first: dict[int, Answer] = {}
    for answer in answers:
        key = _key(answer.path, answer)
        places = by_part.get(key, []) if answer.names_part else by_path.get(_composed(answer.path), [])
        if len(places) != 1:
            faults.append(_no_one_row(answer, len(places), is_listed=_composed(answer.path) in by_path))
        elif answer.label:
            earlier = first.setdefault(places[0], answer)
            if earlier.label != answer.label:
                faults.append(
                    KineflowError(
                        f"{shown(answer.path)} is {shown(answer.label)} here, and {shown(earlier.label)} at "
                        f"{earlier.where}",
                        where=answer.where,
                        remedy="keep one of the two answers",
                    )
                )
    yield from first.items()


def _no_one_row(answer: Answer, rows: int, *, is_listed: bool) -> KineflowError:
    if rows:
        return KineflowError(
            f"{shown(answer.path)} is {rows} clips of the list",
            where=answer.where,
            remedy="give the columns start and end as the list has them",
        )
    if is_listed:
        problem = f"the list has {shown(answer.path)}, but not this part of it"
        return KineflowError(problem, where=answer.where, remedy="give start and end as the list has them")
    return KineflowError(
        f"{shown(answer.path)} is not in the list",
        where=answer.where,
        remedy="give paths as the list has them, or name another list with --list",
    )


def _faults_of_classes(
    answers: Sequence[Answer], known: Sequence[str], new_classes: Sequence[str]
) -> Iterator[KineflowError]:
    """Classes that the list does not have, each told once; and new ones that it cannot have."""
    by_look = {_look(name): name for name in known}
    allowed = set(known)
    for name in new_classes:
        alike = by_look.setdefault(_look(name), name)
        if alike != name and name not in allowed:
            yield _same_look(name, alike, "--new-class")
            continue
        try:
            settled((ListedClip("x", name, Split.TRAIN, "", "--new-class"),), Videos.among(()))
        except KineflowError as fault:
            yield fault
        allowed.add(name)
    strange: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.label not in allowed:
            strange.setdefault(answer.label, []).append(answer)
    names = ", ".join(map(shown, known[:_SHOWN])) + (", …" if len(known) > _SHOWN else "")
    for label, those in strange.items():
        where = those[0].where
        if other := by_look.get(_look(label)):
            yield _same_look(label, other, where)
        else:
            more = f" ({len(those)} rows)" if len(those) > 1 else ""
            yield KineflowError(
                f"{shown(label)} is no class of the list{more}; it has {names or 'none'}",
                where=where,
                remedy=f"correct it, or where it is a new class: --new-class {shlex.quote(printable(label))}",
            )


def _same_look(name: str, other: str, where: str) -> KineflowError:
    return KineflowError(
        f"{shown(name)} is class {shown(other)} but for case, blanks, - or _",
        where=where,
        remedy=f"write it as {shown(other)}",
    )


def _look(label: str) -> str:
    """What two spellings of one class have in common; the page has the same rule."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", label).casefold())


def _key(path: str, part: ListedClip | Answer) -> _Key:
    """What tells a clip of the list from the others: to the millisecond, for files round times."""
    end = None if part.end_sec is None else round(part.end_sec * 1000)
    return _composed(path), round((part.start_sec or 0.0) * 1000), end, part.start_frame, part.end_frame


def _composed(path: str) -> str:
    return unicodedata.normalize("NFC", path)
