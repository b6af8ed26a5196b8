"""Scores survive the disk, refuse to be wrong, and say how they differ."""

import dataclasses
import json
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kineflow.evaluation.scores import Scores, align, softmax
from kineflow.storage.errors import KineflowError


def scores(**changes):
    parts = {
        "model": "plain",
        "clip_ids": ("a", "b", "c"),
        "labels": np.array([0, 1, -1]),
        "classes": ("jump", "run"),
        "logits": np.array([[1, 0], [0, 2], [0.5, 0.25]], dtype=np.float32),
        "split": "test",
    }
    return Scores(**parts | changes)


def same(one, two):
    return all(np.array_equal(getattr(one, f.name), getattr(two, f.name)) for f in dataclasses.fields(Scores))


@st.composite
def any_scores(draw):
    clips, classes = draw(st.integers(0, 6)), draw(st.integers(1, 5))
    names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
    finite = st.floats(-(2.0**100), 2.0**100, width=32)
    return Scores(
        model=draw(names),
        clip_ids=tuple(draw(st.lists(names, min_size=clips, max_size=clips, unique=True))),
        labels=draw(hnp.arrays(np.int64, clips, elements=st.integers(-1, classes - 1))),
        classes=tuple(draw(st.lists(names, min_size=classes, max_size=classes, unique=True))),
        logits=draw(hnp.arrays(np.float32, (clips, classes), elements=finite)),
        split=draw(st.sampled_from(["", "val", "test"])),
    )


@pytest.mark.slow
@given(any_scores())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_saved_is_loaded(tmp_path, saved):
    saved.save(tmp_path / "s.parquet")
    loaded = Scores.load(tmp_path / "s.parquet")
    assert same(saved, loaded)
    assert (loaded.logits.dtype, loaded.labels.dtype) == (np.float32, np.int64)


def test_the_file_is_plain_parquet(tmp_path):
    scores().save(tmp_path / "s.parquet")
    table = pq.read_table(tmp_path / "s.parquet")
    assert table.column_names == ["clip_id", "label", "logits"]
    assert table.column("logits").to_pylist()[1] == [0.0, 2.0]
    described = json.loads(table.schema.metadata[b"kineflow.scores"])
    assert described == {"model": "plain", "split": "test", "classes": ["jump", "run"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_ids": ("a", "b")}, "do not fit logits"),
        ({"classes": ("jump", "run", "sit")}, "do not fit logits"),
        ({"labels": np.array([0, 1])}, "do not fit logits"),
        ({"logits": np.zeros((3, 2))}, "must be float32"),
        ({"labels": np.zeros(3, dtype=np.int32)}, "labels int64"),
        ({"clip_ids": ("a", "b", "a")}, "clip 'a' is listed twice"),
        ({"classes": ("run", "run")}, "class 'run' is listed twice"),
        ({"classes": (), "logits": np.zeros((3, 0), np.float32)}, "no class"),
        ({"labels": np.array([0, 2, 1])}, "1 labels lie outside the 2 classes, the first of them at 'b'"),
        ({"labels": np.array([0, 1, -2])}, "at 'c'"),
        ({"logits": np.array([[0, 0], [np.nan, 0], [0, np.inf]], np.float32)}, "2 clips .* not finite.* 'b'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(KineflowError, match=message):
        scores(**changes)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(KineflowError, match=r"nothing\.parquet.*no readable score file"):
        Scores.load(tmp_path / "nothing.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", b"text"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path, content):
    (tmp_path / "s.parquet").write_bytes(content)
    with pytest.raises(KineflowError, match="no readable score file"):
        Scores.load(tmp_path / "s.parquet")


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"clip_id": ["a"], "label": [0], "logits": [[1.0]]}),  # no metadata
        pa.table({"clip_id": ["a"]}).replace_schema_metadata({b"kineflow.scores": b"{}"}),
        pa.table({"clip_id": ["a", "b"], "label": [0, 0], "logits": [[1.0], [1.0, 2.0]]}).replace_schema_metadata(
            {b"kineflow.scores": b'{"model": "m", "split": "", "classes": ["x"]}'}
        ),
    ],
)
def test_a_parquet_file_of_something_else_is_refused(tmp_path, table):
    pq.write_table(table, tmp_path / "s.parquet")
    with pytest.raises(KineflowError, match="no readable score file"):
        Scores.load(tmp_path / "s.parquet")


def test_a_file_with_broken_content_is_refused(tmp_path):
    table = pa.table({"clip_id": ["a"], "label": [5], "logits": [[1.0]]})
    described = b'{"model": "m", "split": "", "classes": ["x"]}'
    pq.write_table(table.replace_schema_metadata({b"kineflow.scores": described}), tmp_path / "s.parquet")
    with pytest.raises(KineflowError, match="labels lie outside"):
        Scores.load(tmp_path / "s.parquet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_ids": ("a", "b", "d")}, r"1 clips only in the first \(c\), 1 clips only in the second \(d\)"),
        ({"clip_ids": ("b", "a", "c")}, r"same clips in another order \(place 0: 'a', 'b'\)"),
        ({"classes": ("run", "jump")}, "same classes in another order"),
        ({"labels": np.array([0, 0, -1])}, "1 clips have another label, the first of them 'b'"),
    ],
)
def test_align_names_the_difference(changes, message):
    with pytest.raises(KineflowError, match=message) as caught:
        align([scores(), scores(model="same"), scores(model="student", **changes)])
    assert "'plain' and 'student'" in str(caught.value)


def test_align_finds_clips_that_one_model_lacks():
    short = scores(clip_ids=("a",), labels=np.array([0]), logits=np.zeros((1, 2), np.float32))
    with pytest.raises(KineflowError, match=r"2 clips only in the first \(b, c\)"):
        align([scores(), short])


def test_align_accepts_the_same_clips_and_refuses_none():
    align([scores(), scores(model="other", logits=np.ones((3, 2), np.float32))])
    with pytest.raises(KineflowError, match="no scores"):
        align([])


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e4, 1e4)), st.floats(-1e3, 1e3))
def test_softmax_is_a_distribution_that_ignores_a_common_shift(logits, shift):
    probabilities = softmax(logits)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert np.allclose(softmax(logits + shift), probabilities, atol=1e-9)
    assert (np.take_along_axis(probabilities, logits.argmax(1)[:, None], 1)[:, 0] == probabilities.max(1)).all()


def test_predictions_take_the_best_class():
    assert scores().predictions().tolist() == [0, 1, 0]
    assert np.allclose(scores().probabilities()[0], [np.e / (np.e + 1), 1 / (np.e + 1)])


def test_names_that_repeat_late_are_found_at_once():
    many = 60_000
    names = tuple(f"clip {number}" for number in range(many))
    before = time.process_time()
    with pytest.raises(KineflowError, match=f"'clip {many - 1}' is listed twice"):
        scores(
            clip_ids=(*names, names[-1]),
            labels=np.zeros(many + 1, np.int64),
            logits=np.zeros((many + 1, 2), np.float32),
        )
    assert time.process_time() - before < 5


@pytest.mark.slow
def test_many_scores_take_little_more_than_themselves(tmp_path):
    """In a process of its own, whose memory nobody else has used."""
    clips, classes = 20_000, 200
    names = tuple(f"a/{number}" for number in range(clips))
    logits = np.random.default_rng(0).normal(size=(clips, classes)).astype(np.float32)
    saved = scores(
        clip_ids=names, labels=np.zeros(clips, np.int64), classes=tuple(map(str, range(classes))), logits=logits
    )
    saved.save(tmp_path / "s.parquet")
    code = (
        "import resource, sys; from pathlib import Path; import pyarrow.parquet;"
        "from kineflow.evaluation.fusion import fuse; from kineflow.evaluation.scores import Scores;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024; before = peak();"
        "loaded = Scores.load(Path(sys.argv[1])); read = peak() - before; fuse([loaded, loaded]);"
        "print(read, peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s.parquet")], check=True, capture_output=True, text=True
    )
    read_mb, fused_mb = map(int, done.stdout.split())
    own_mb = logits.nbytes / 2**20
    assert read_mb < own_mb + 120
    assert fused_mb < 2 * own_mb + 250
    assert same(Scores.load(tmp_path / "s.parquet"), saved)
