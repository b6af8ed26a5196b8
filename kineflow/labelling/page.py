"""The folder that is handed to whoever labels: a page that plays the clips, the clips, and the same as a CSV list.

The page needs no server and no network. It asks of one clip at a time and keeps the answers in the browser, under a
digest of the questions, until they are saved as a CSV file. What the model says is shown after the answer, or where it
is asked for: who sees it first tends to agree with it, and labels that repeat a model teach it nothing. Of a label
that is suspected of being wrong the reason is shown at once, for that is what is asked.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kineflow.labelling.questions import Question, Questions
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_folder
from kineflow.storage.page_policy import page_template, scripted_policy
from kineflow.storage.spreadsheet import harmless
from kineflow.survey.clips_csv import FRAMES, TIMES

PAGE_FILE = "index.html"
LIST_FILE = "clips.csv"
CLIPS_FOLDER = "clips"
ANSWERS_FILE = "answers.csv"
"""Name under which the page saves its answers."""

_OURS = {PAGE_FILE, LIST_FILE, CLIPS_FOLDER}
_LIST_DIGEST = re.compile(r'<meta name="clips-sha256" content="([0-9a-f]{64})">')
_HEAD_BYTES = 2**16


def write_labelling(folder: Path, questions: Questions, *, list_name: str) -> None:
    """Write ``index.html``, ``clips.csv`` and ``clips/001.mp4`` …, whole or not at all.

    ``clips.csv`` has a row a clip: ``path``, ``label`` (empty, or the one that is suspected), where some clip is a part
    of its video ``start`` and ``end`` in seconds, or ``start_frame`` and ``end_frame``, then ``clip_id``,
    ``suggestion`` (the most probable class), ``probability`` and ``why``. The page saves a file of the same columns.
    Clips are links to the stored ones where the file system allows.

    Args:
        folder: To write; one that was written before is replaced, if nobody has worked in it.
        questions: What is asked.
        list_name: Of the project's list, as the page's heading shall call it.

    Raises:
        KineflowError: Nothing is asked, a clip is not there, or the folder holds something else, such as answers.
    """
    asked = [*questions.suggested, *questions.suspected]
    if not asked:
        raise KineflowError("there is no clip to ask about", where=folder, remedy="give the list unlabelled clips")
    check_replaceable(folder)
    columns, rows = _table(asked)
    with atomic_folder(folder) as partial:
        clips = _put_clips(asked, partial / CLIPS_FOLDER)
        with (partial / LIST_FILE).open("w", encoding="utf-8-sig", newline="") as stream:  # spreadsheets want the BOM
            writer = csv.writer(stream)
            writer.writerow(columns)
            writer.writerows(harmless(row) for row in rows)
        html = _render(questions, columns, rows, clips, _sha256((partial / LIST_FILE).read_bytes()), list_name)
        (partial / PAGE_FILE).write_text(html, encoding="utf-8")


def check_replaceable(folder: Path) -> None:
    """See that a folder holds nothing that somebody would miss.

    Raises:
        KineflowError: It does.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise KineflowError("a link or a file, where a folder is to be written", where=folder, remedy="name another")
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()}
    written, listed = _digest_on(folder / PAGE_FILE), folder / LIST_FILE
    if others := sorted(names if not written else names - _OURS):
        problem = f"the folder holds {others[0]!r}, which would be lost"
    elif listed.is_file() and _sha256(listed.read_bytes()) != written:
        problem = f"its {LIST_FILE} was changed, and the answers in it would be lost"
    else:
        return
    raise KineflowError(
        problem,
        where=folder,
        remedy="take answers in with kineflow label, then move the folder away; or name another folder",
    )


def _digest_on(page: Path) -> str:
    """SHA-256 of the list that a page was written with; empty where there is none."""
    if not page.is_file():
        return ""
    with page.open("rb") as stream:
        match = _LIST_DIGEST.search(stream.read(_HEAD_BYTES).decode("utf-8", errors="replace"))
    return match[1] if match else ""


def _table(asked: Sequence[Question]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the list."""
    has_times = any(each.start_sec is not None or each.end_sec is not None for each in asked)
    has_frames = any(each.start_frame is not None or each.end_frame is not None for each in asked)
    columns = ["path", "label", *(TIMES if has_times else ()), *(FRAMES if has_frames else ())]
    rows = []
    for each in asked:
        times = ["" if at is None else f"{at:.10g}" for at in (each.start_sec, each.end_sec)] if has_times else []
        frames = ["" if n is None else str(n) for n in (each.start_frame, each.end_frame)] if has_frames else []
        suggestion, probability = next(iter(_ranked(each)), ("", None))
        said = "" if probability is None else f"{probability:.3f}"
        rows.append([each.path, each.label, *times, *frames, each.clip_id, suggestion, said, each.why])
    return [*columns, "clip_id", "suggestion", "probability", "why"], rows


def _ranked(question: Question) -> list[tuple[str, float]]:
    return sorted(question.probabilities.items(), key=lambda item: -item[1])


def _put_clips(asked: Sequence[Question], folder: Path) -> list[str]:
    """Put the clips into a folder; their names, as the page's own addresses."""
    folder.mkdir()
    digits, names = max(3, len(str(len(asked)))), []
    for number, each in enumerate(asked, 1):
        name, stored = f"{number:0{digits}}.mp4", each.video.resolve()
        if not stored.is_file():
            raise KineflowError(
                f"the stored clip of {each.clip_id!r} is not there", where=each.video, remedy="run the recipe again"
            )
        try:
            (folder / name).hardlink_to(stored)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(stored, folder / name)
        names.append(f"{CLIPS_FOLDER}/{name}")
    return names


def _render(
    questions: Questions,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    clips: Sequence[str],
    list_digest: str,
    list_name: str,
) -> str:
    here = Path(__file__).parent
    script = (here / "page.js").read_text(encoding="utf-8")
    asked = [*questions.suggested, *questions.suspected]
    content: dict[str, Any] = {
        "columns": list(columns),
        "classes": list(questions.classes),
        "file": ANSWERS_FILE,
        "questions": [
            {
                "row": list(row),
                "clip": clip,
                "suspected": number >= len(questions.suggested),
                "probabilities": _ranked(each),
            }
            for number, (each, row, clip) in enumerate(zip(asked, rows, clips, strict=True))
        ],
    }
    content["key"] = _sha256(json.dumps([list_name, content], sort_keys=True).encode())
    return page_template(here / "page.html.j2").render(
        policy=scripted_policy(script),
        style=(here / "page.css").read_text(encoding="utf-8"),
        script=script,
        content=content,
        list_digest=list_digest,
        list_name=list_name,
        model=questions.model,
        data_version=questions.data_version,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
