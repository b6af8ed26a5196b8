"""What a run made, published to a real S3 server and used from there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from kineflow.models import remote_bundle
from kineflow.models.bundle import WEIGHTS_FILE, weights_digest
from kineflow.models.card import CARD_FILE, load_card
from kineflow.models.remote_bundle import local_bundle
from kineflow.serving.served_model import example_video
from kineflow.sets.clip_set import CLIPSET_FILE
from kineflow.storage.errors import KineflowError
from kineflow.storage.upload import upload_folder
from pipelines.engines.outcome import Outcome
from pipelines.engines.publish import publish
from pipelines.predict import top_classes
from tests.swift import Swift

pytestmark = pytest.mark.slow

CLASSES = ("left", "right", "spin")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny student."""
    import torch

    from kineflow.models.bundle import save_bundle
    from kineflow.models.card import ModelCard
    from kineflow.models.registry import create_model
    from kineflow.spec.preprocessing import Preprocessing

    folder = tmp_path_factory.mktemp("bundle") / "model"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = create_model("s3d", num_classes=3, width=0.0625)
    preprocessing = Preprocessing("rgb", 8, 1, 64, 64, (114.75,) * 3, (57.375,) * 3)
    save_bundle(folder, network, ModelCard("student", "s3d", {"width": 0.0625}, CLASSES, preprocessing))
    return folder


@pytest.fixture
def outcome(bundle: Path, tmp_path: Path) -> Outcome:
    """A run with a model, a report, scores, and clips."""
    outputs = tmp_path / "outputs"
    for name, content in {
        "ingest/clips/clipset.json": "{}",
        "ingest/clips/media/a.mp4": "heavy",
        "student/metrics.json": '{"val/top1": 0.5}',
        "evaluate/evaluation/metrics.json": "{}",
        "evaluate/evaluation/scores/student.parquet": "scores",
        "evaluate/report.html": "<html>",
        "register/registration": "{}",
    }.items():
        (outputs / name).parent.mkdir(parents=True, exist_ok=True)
        (outputs / name).write_text(content)
    (outputs / "student" / "model").symlink_to(bundle)  # as DVC may
    return Outcome(
        ran=("ingest", "student", "evaluate", "register"),
        outputs={
            "ingest": {"clips": outputs / "ingest/clips"},
            "student": {"model": outputs / "student/model"},
            "evaluate": {"evaluation": outputs / "evaluate/evaluation", "report": outputs / "evaluate/report.html"},
            "register": {"registration": outputs / "register/registration"},
        },
    )


@pytest.fixture
def bucket(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)
    return swift.make_bucket()


def test_models_reports_figures_and_scores_are_published_and_heavy_data_are_not(
    swift: Swift, bucket: str, outcome: Outcome
) -> None:
    uploaded = publish(outcome, f"s3://{bucket}/runs/", recipe="d3d", run_id="7f3a")

    at = f"s3://{bucket}/runs/d3d/7f3a"
    wanted = {
        "student/model/model.json", "student/model/model.safetensors", "student/metrics.json",
        "evaluate/evaluation/metrics.json", "evaluate/evaluation/scores/student.parquet", "evaluate/report.html",
        "register/registration",
    }  # fmt: skip
    assert set(uploaded) == {f"{at}/{name}" for name in wanted | {"index.json"}}
    assert uploaded[-1] == f"{at}/index.json"
    index = json.load(swift.client().get_object(Bucket=bucket, Key="runs/d3d/7f3a/index.json")["Body"])
    assert (index["recipe"], index["run_id"], index["models"]) == ("d3d", "7f3a", ["student/model"])
    assert {file["path"] for file in index["files"]} == wanted
    for file in index["files"]:
        kept = swift.client().head_object(Bucket=bucket, Key=f"runs/d3d/7f3a/{file['path']}")
        assert (kept["ContentLength"], kept["Metadata"]["sha256"]) == (file["bytes"], file["sha256"])


def test_a_published_model_predicts_as_the_one_on_disk(
    bucket: str, outcome: Outcome, bundle: Path, tmp_path: Path
) -> None:
    publish(outcome, f"s3://{bucket}", recipe="d3d", run_id="7f3a")
    video = tmp_path / "clip.mp4"
    video.write_bytes(example_video(load_card(bundle)))

    from_s3 = top_classes(video, f"s3://{bucket}/d3d/7f3a/student/model", 3)

    assert from_s3 == top_classes(video, str(bundle), 3)
    assert {name for name, _ in from_s3} == set(CLASSES)


def test_a_model_on_s3_leaves_nothing_on_this_machine(
    bucket: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_folder(bundle, f"s3://{bucket}/model")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))

    with local_bundle(f"s3://{bucket}/model/") as folder:
        assert sorted(path.name for path in folder.iterdir()) == [CARD_FILE, WEIGHTS_FILE]
        assert weights_digest(folder) == weights_digest(bundle)
        assert folder.is_relative_to(tmp_path)

    assert not list((tmp_path / "tmp").iterdir())


def test_objects_that_are_too_large_changed_or_missing_are_refused(
    swift: Swift, bucket: str, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = f"s3://{bucket}/model"
    upload_folder(bundle, at)
    size = (bundle / WEIGHTS_FILE).stat().st_size
    monkeypatch.setitem(remote_bundle.LARGEST_FILES, WEIGHTS_FILE, size - 1)
    with pytest.raises(KineflowError, match=f"{size} bytes; at most {size - 1}"), local_bundle(at):
        pass
    monkeypatch.undo()
    for name, value in swift.environment.items():
        monkeypatch.setenv(name, value)

    kept = swift.client().head_object(Bucket=bucket, Key=f"model/{CARD_FILE}")["Metadata"]
    swift.client().put_object(Bucket=bucket, Key=f"model/{CARD_FILE}", Body=b"{}", Metadata=kept)
    with pytest.raises(KineflowError, match=f"{CARD_FILE}: not what was uploaded"), local_bundle(at):
        pass

    swift.client().delete_object(Bucket=bucket, Key=f"model/{CARD_FILE}")
    with pytest.raises(KineflowError, match=rf"{CARD_FILE}: the S3 server refused"), local_bundle(at):
        pass


def test_a_strangers_weights_are_checked_as_those_of_a_folder(
    swift: Swift, bucket: str, bundle: Path, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / CARD_FILE).write_bytes((bundle / CARD_FILE).read_bytes())
    weights = load_file(bundle / WEIGHTS_FILE)
    weights.pop(sorted(weights)[0])
    save_file(weights, stranger / WEIGHTS_FILE)
    for path in stranger.iterdir():  # by another program: without our digest
        swift.client().upload_file(str(path), bucket, f"model/{path.name}")

    with pytest.raises(KineflowError, match="files of one bundle together"):
        top_classes(tmp_path / "clip.mp4", f"s3://{bucket}/model", 1)


@pytest.mark.parametrize(
    ("uri", "recipe", "run_id", "message"),
    [
        ("/tmp/runs", "d3d", "7", "names a bucket"),
        ("s3://bucket/runs", "../d3d", "7", "cannot be part of an address"),
        ("s3://bucket/runs", "d3d", "a/b", "cannot be part of an address"),
        ("s3://bucket/runs", "d3d", "", "cannot be part of an address"),
    ],
)
def test_impossible_addresses_are_refused(outcome: Outcome, uri: str, recipe: str, run_id: str, message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        publish(outcome, uri, recipe=recipe, run_id=run_id)


def test_a_run_without_results_is_refused(tmp_path: Path) -> None:
    (tmp_path / CLIPSET_FILE).write_text("{}")
    with pytest.raises(KineflowError, match="nothing to publish"):
        publish(Outcome((), {"ingest": {"clips": tmp_path}}), "s3://bucket", recipe="d3d", run_id="7")
