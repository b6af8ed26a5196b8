"""Clips for following docs/tutorial.md without videos of one's own: people, three gestures, two takes of each.

::

    python gestures.py ~/gestures        # sixty clips of ten people, in a folder for each gesture
    python gestures.py ~/gestures 14     # four people more; the clips that are there already stay as they are

They are rendered (:mod:`kineflow.synth`): a "person" is a textured shape before a background of its own.
"""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from pathlib import Path

from kineflow.synth.dataset import CLIPS_FILE, make_dataset
from kineflow.synth.spec import GroupCounts, SynthSpec

PEOPLE = ("ann", "ben", "cleo", "dora", "eli", "finn", "gus", "hana", "ida", "jon", "kim", "leo", "mia", "noa")
GESTURES = {"translate_left": "swipe_left", "translate_right": "swipe_right", "rotate_clockwise": "turn"}


def make_gestures(folder: Path, people: int = 10, *, size_px: int = 128, frames: int = 30) -> int:
    """Write ``<gesture>/<person>_<take>.mp4``.

    Args:
        folder: Where to; made if it is not there.
        people: How many, from 3 to 14.
        size_px: Height and width.
        frames: Length, at 25 frames a second.

    Returns:
        Number of clips.
    """
    spec = SynthSpec(
        classes=tuple(GESTURES),
        groups=GroupCounts(train=people - 2, val=1, test=1, unlabelled=0),
        frames=frames,
        size_px=size_px,
        radius_px=0.15 * size_px,
        growth=(0.001, 0.002),
        camouflage=0.0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "set"
        make_dataset(made, spec, seed=1)
        with (made / CLIPS_FILE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        # those of val and test come first, as more people are more of train
        groups = sorted({(row["split"] == "train", row["group"]) for row in rows})
        person = {group: name for (_, group), name in zip(groups, PEOPLE, strict=False)}
        takes: dict[tuple[str, str], int] = {}
        for row in rows:
            name, gesture = shown = person[row["group"]], GESTURES[row["label"]]
            takes[shown] = takes.get(shown, 0) + 1
            (folder / gesture).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / row["path"], folder / gesture / f"{name}_{takes[shown]}.mp4")
    return len(rows)


if __name__ == "__main__":
    count = make_gestures(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
    sys.stdout.write(f"{count} clips in {sys.argv[1]}\n")
