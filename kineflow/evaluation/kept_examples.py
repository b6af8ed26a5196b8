"""Some clips of an evaluation with their pictures, kept beside its figures: the page of a registered model shows them.

::

    examples.csv              model, clip, true, answer, probability: what went wrong first, then what nearly did
    examples/<row>/<n>.jpg    a few frames of the clip of a row, both counted from 0
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kineflow.evaluation.report.page import Example
from kineflow.evaluation.results import Evaluation
from kineflow.storage.errors import KineflowError
from kineflow.storage.spreadsheet import as_given, harmless

EXAMPLES_FILE, EXAMPLES_FOLDER = "examples.csv", "examples"

_COLUMNS = ("model", "clip", "true", "answer", "probability")


@dataclass(frozen=True)
class KeptExample:
    """A clip and what a model said of it.

    Attributes:
        clip: Its id.
        true: Its class.
        answer: The class that the model gave.
        probability: Which it gave that class, in [0, 1].
        frames: JPEGs.
    """

    clip: str
    true: str
    answer: str
    probability: float
    frames: tuple[bytes, ...]

    @property
    def is_right(self) -> bool:
        """Whether the answer is the class."""
        return self.answer == self.true


def keep_examples(folder: Path, evaluation: Evaluation, examples: Sequence[Example]) -> None:
    """Write the examples of an evaluation's student into the folder of its figures."""
    student = evaluation.scores_of(evaluation.student)
    described = []
    for example in examples:
        probabilities = student.probabilities(slice(example.index, example.index + 1))[0]
        best, truth = int(probabilities.argmax()), int(student.nearest_labels[example.index])
        probability = float(probabilities[best])
        # Of wrong answers the surest first, and of right ones the least sure.
        order = (0, -probability) if best != truth else (1, probability)
        row = (student.model, student.clip_ids[example.index], student.classes[truth], student.classes[best])
        described.append((order, (*row, f"{probability:.6g}"), example.frames))
    described.sort(key=lambda each: each[0])
    with (folder / EXAMPLES_FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([_COLUMNS, *(harmless(row) for _, row, _ in described)])
    for number, (_, _, frames) in enumerate(described):
        place = folder / EXAMPLES_FOLDER / str(number)
        place.mkdir(parents=True)
        for name, frame in enumerate(frames):
            (place / f"{name}.jpg").write_bytes(frame)


def read_examples(folder: Path, model: str, *, count: int, most_bytes: int) -> list[KeptExample]:
    """The first examples of a model, a third of them right ones where there are; none where the evaluation kept none.

    Args:
        folder: Of the evaluation.
        model: Its name there.
        count: Most examples.
        most_bytes: Of all pictures together; examples that would go beyond it are left out.

    Raises:
        KineflowError: The table is malformed.
    """
    path, left = folder / EXAMPLES_FILE, most_bytes
    examples: list[KeptExample] = []
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            table = [{key: as_given(str(row[key])) for key in _COLUMNS} for row in csv.DictReader(stream)]
        of_model = [(number, row) for number, row in enumerate(table) if row["model"] == model]
        wrong = [each for each in of_model if each[1]["answer"] != each[1]["true"]]
        right = [each for each in of_model if each[1]["answer"] == each[1]["true"]]
        for number, row in [*wrong[: max(count - len(right), count * 2 // 3)], *right]:
            files = sorted((folder / EXAMPLES_FOLDER / str(number)).glob("*.jpg"), key=lambda file: int(file.stem))
            size = sum(file.stat().st_size for file in files)
            if not files or size > left or len(examples) == count:
                continue
            left -= size
            frames = tuple(file.read_bytes() for file in files)
            examples.append(KeptExample(row["clip"], row["true"], row["answer"], float(row["probability"]), frames))
    except (KeyError, ValueError, csv.Error) as error:
        raise KineflowError(f"malformed: {error}", where=path, remedy="run the evaluate step again") from None
    return examples
