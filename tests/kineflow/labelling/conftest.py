"""Questions about tiny clips, with names that a page and a spreadsheet must not take for more than names."""

from __future__ import annotations

from pathlib import Path

import pytest

from kineflow.labelling.questions import Question, Questions

CLASSES = ("fight", '</script><script>document.title="lost"</script>', "=1+1", "wave & 'run'")


@pytest.fixture
def questions(tiny_data) -> Questions:
    """Four suggested clips, two of them parts of one video, and two suspected ones."""
    videos = sorted((tiny_data.clips / "media").glob("*.mp4"))
    paths = ['a/"1", </script>.mp4', "v.mp4", "v.mp4", "=4.mp4", "5.mp4", "6.mp4"]
    parts = [(None, None), (None, 2.5), (2.5, 1234.5678), (None, None), (None, None), (None, None)]

    def question(number: int, label: str) -> Question:
        start, end = parts[number]
        probabilities = dict(zip(CLASSES, (0.1, 0.6, 0.2, 0.1), strict=True))
        why = "the model says '</script>'"
        return Question(f"c/{number}", paths[number], videos[number], label, probabilities, why, start, end, None, None)

    return Questions(
        classes=CLASSES,
        suggested=tuple(question(number, "") for number in range(4)),
        suspected=(question(4, "fight"), question(5, "=1+1")),
        model="</title><b>m",
        data_version="abc",
    )


@pytest.fixture
def page(questions: Questions, tmp_path: Path) -> Path:
    """The folder that is handed to whoever labels."""
    from kineflow.labelling.page import write_labelling

    write_labelling(tmp_path / "labelling", questions, list_name="clips.csv")
    return tmp_path / "labelling"
