import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__

from kineflow.storage.errors import KineflowError
from kineflow.synth import dataset
from kineflow.synth.dataset import GroupCounts, SynthSpec, make_dataset, truth_path
from kineflow.synth.truth import load_truth
from kineflow.video.decode import read_frames

SPEC = SynthSpec(
    classes=("translate_left", "rotate_clockwise", "grow"),
    groups=GroupCounts(train=2, val=1, test=1, unlabelled=2),
    takes=2,
    frames=5,
    size_px=32,
    radius_px=8.0,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "set"
    result = make_dataset(folder, SPEC, seed=3)
    assert (result.folder, result.clips, result.made) == (folder, 36, True)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_lists_name_every_clip_once_and_hide_the_unlabelled_labels(made: Path) -> None:
    rows = rows_of(made / "clips.csv")
    assert list(rows[0]) == ["path", "label", "split", "group"]
    assert len({row["path"] for row in rows}) == len(rows) == 36
    assert all((made / row["path"]).is_file() for row in rows)
    assert {row["label"] for row in rows if row["split"] == "unlabelled"} == {""}
    hidden = rows_of(made / "unlabelled_truth.csv")
    assert {row["path"] for row in hidden} == {row["path"] for row in rows if row["split"] == "unlabelled"}
    assert Counter(row["class"] for row in hidden) == dict.fromkeys(SPEC.classes, 4)


def test_every_labelled_group_shows_every_class_equally_often_and_stays_in_one_split(made: Path) -> None:
    rows = rows_of(made / "clips.csv")
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row["group"], set()).add(row["split"])
    assert all(len(of_group) == 1 for of_group in splits.values())
    assert Counter(split for (split,) in splits.values()) == {"train": 2, "val": 1, "test": 1, "unlabelled": 2}
    per_group = Counter((row["group"], row["label"]) for row in rows if row["label"])
    assert set(per_group.values()) == {2}
    assert len(per_group) == 4 * 3


def test_names_say_nothing_of_the_class(made: Path) -> None:
    rows = [row for row in rows_of(made / "clips.csv") if row["label"]]
    assert not any(name in row["path"] for row in rows for name in SPEC.classes)
    orders = {tuple(row["label"] for row in rows if row["group"] == group) for group in {row["group"] for row in rows}}
    assert len(orders) > 1  # the number of a clip in its group does not tell either


def test_videos_show_what_their_truth_says(made: Path) -> None:
    for row in rows_of(made / "clips.csv")[:6]:
        frames = read_frames(made / row["path"]).astype(np.float64)
        truth = load_truth(truth_path(made, row["path"]))
        assert frames.shape == (5, 32, 32, 3)
        assert truth.mask.shape == (5, 32, 32)
        still = [np.abs(frames[t + 1] - frames[t])[~truth.mask[t] & ~truth.occluded[t]].mean() for t in range(4)]
        speed = float(np.hypot(*truth.camera[0, :, 2]))
        assert np.mean(still) < 8 + 25 * speed


def test_actors_and_scenes_differ_between_groups_but_not_within_one(made: Path) -> None:
    rows = rows_of(made / "clips.csv")
    colours: dict[str, list[np.ndarray]] = {}
    for row in rows:
        truth = load_truth(truth_path(made, row["path"]))
        background = read_frames(made / row["path"], [0])[0][~truth.mask[0]]
        colours.setdefault(row["group"], []).append(background.mean(axis=0))
    within = np.mean([np.std(of_group, axis=0).mean() for of_group in colours.values()])
    between = np.std([np.mean(of_group, axis=0) for of_group in colours.values()], axis=0).mean()
    assert between > 2 * within


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_workers(made: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path / "again", SPEC, seed=3, workers=2)
    assert contents(tmp_path / "again") == contents(made)


@pytest.mark.slow
def test_same_seed_same_bytes_on_another_cpu(made: Path, tmp_path: Path) -> None:
    """NumPy's own sines differ by the width of a CPU's vectors; ``data.dvc`` holds the demo to the rest."""
    program = (
        "from pathlib import Path; from kineflow.synth.dataset import GroupCounts, SynthSpec, make_dataset;"
        f"make_dataset(Path('other'), {SPEC!r}, seed=3)"
    )
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    assert contents(tmp_path / "other") == contents(made)


def test_another_seed_gives_another_set(made: Path, tmp_path: Path) -> None:
    few = SPEC.model_copy(update={"groups": GroupCounts(train=1, val=1, test=1, unlabelled=0)})
    make_dataset(tmp_path / "other", few, seed=4)
    one, other = contents(made), contents(tmp_path / "other")
    assert one["videos/g000/g000_c00.mp4"] != other["videos/g000/g000_c00.mp4"]


@pytest.mark.slow
def test_more_groups_in_one_split_leave_the_other_clips_as_they_were(made: Path, tmp_path: Path) -> None:
    more = SPEC.model_copy(update={"groups": SPEC.groups.model_copy(update={"train": 3})})
    make_dataset(tmp_path / "more", more, seed=3)
    before, after = truths_by_split(made), truths_by_split(tmp_path / "more")
    assert before.pop("train") < after.pop("train")
    assert before == after


def truths_by_split(folder: Path) -> dict[str, set[bytes]]:
    truths: dict[str, set[bytes]] = {}
    for row in rows_of(folder / "clips.csv"):
        truths.setdefault(row["split"], set()).add(truth_path(folder, row["path"]).read_bytes())
    return truths


def test_an_identical_set_is_left_as_it_is_and_another_replaces_it(tmp_path: Path) -> None:
    few = SPEC.model_copy(update={"groups": GroupCounts(train=1, val=1, test=1, unlabelled=0), "takes": 1})
    folder = tmp_path / "set"
    assert make_dataset(folder, few, seed=0).made
    (folder / "witness").touch()
    again = make_dataset(folder, few, seed=0)
    assert (again.made, again.clips) == (False, 9)
    assert (folder / "witness").exists()
    assert make_dataset(folder, few, seed=1).made
    assert not (folder / "witness").exists()
    assert json.loads((folder / "synth.json").read_text())["seed"] == 1


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_text("precious")
    with pytest.raises(KineflowError, match="something other than a synthetic data set"):
        make_dataset(tmp_path, SPEC, seed=0)
    assert (tmp_path / "holiday.mp4").read_text() == "precious"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def fail_later(*_: object) -> None:
        nonlocal written
        written += 1
        if written == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "save_truth", fail_later)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "set", SPEC, seed=0)
    assert list(tmp_path.iterdir()) == []
