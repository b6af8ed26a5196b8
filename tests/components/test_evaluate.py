"""The evaluate step on a tiny clip set and tiny networks: files, figures, and mistakes found before any scoring."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from components.evaluate import evaluate
from kineflow.evaluation.fusion import fuse
from kineflow.evaluation.scores import Scores
from kineflow.evaluation.settings import EvaluateSettings
from kineflow.models.bundle import save_bundle
from kineflow.models.card import FITTED_ON, ModelCard
from kineflow.models.registry import create_model
from kineflow.registry.measured import read_evaluation
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.video.encode import write_video

pytestmark = pytest.mark.slow

CLASSES = ("left", "right")
FRAMES, SIDE = 9, 32


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six test and two val clips: a bright square that moves left or right, and their flow."""
    folder = tmp_path_factory.mktemp("data")
    clips, entries = [], {}
    for number in range(8):
        split = Split.TEST if number < 6 else Split.VAL
        name, label = f"{split}/v{number}", CLASSES[number % 2]
        frames = np.full((FRAMES, SIDE, SIDE, 3), 40 + 5 * number, np.uint8)
        for time in range(FRAMES):
            x = 2 * time if label == "right" else SIDE - 8 - 2 * time
            frames[time, 12:20, x : x + 8] = 220
        path = folder / "clips" / "media" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, fps=25)
        levels = np.full((FRAMES - 1, SIDE, SIDE, 2), 128, np.uint8)
        levels[:, 12:20, :, 0] = 140 if label == "right" else 116
        write_flow(folder / "flow" / "media" / f"{name}.mp4", levels)
        entries[name] = FlowEntry(name, f"{name}.mp4", FRAMES - 1, SIDE, SIDE, Status.OK, "")
        clips.append(
            Clip(name, f"{name}.mp4", label, f"g{number}", split, FRAMES, 25.0, SIDE, SIDE, 0, f"{number:064x}",
                 Status.OK, "", name)
        )  # fmt: skip
    ClipSet(CLASSES, tuple(clips), str(folder / "clips" / "media")).save(folder / "clips")
    FlowSet(20.0, entries, str(folder / "flow" / "media")).save(folder / "flow")
    return folder


def bundle(folder, name, *, modality="rgb", classes=CLASSES, seed=0, fitted_on="train", **metrics):
    torch.manual_seed(seed)
    channels = 3 if modality == "rgb" else 2
    hyper = {"width": 0.0625, "stem_temporal_stride": 1}
    network = create_model("s3d", num_classes=len(classes), in_channels=channels, **hyper)
    preprocessing = Preprocessing(modality, 4, 2, SIDE, SIDE, (127.5,) * channels, (64.0,) * channels)
    card = ModelCard(name, "s3d", hyper, classes, preprocessing, {FITTED_ON: fitted_on}, metrics)
    save_bundle(folder / name, network, card)
    return folder / name


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "teacher": bundle(folder, "teacher", modality="flow"),
        "plain": bundle(folder, "plain", seed=1),
        "student": bundle(folder, "student", seed=2),
    }


NAMES = ("plain", "student")
PARAMS = {
    "clips_per_video": 2,
    "student": "student",
    "baseline": "plain",
    "examples": 3,
    "fusion": [
        {"models": ["student", "plain"], "weights": [3, 1]},
        {"models": ["teacher", "student"], "weights": "val"},
    ],
}


def run(data, bundles, folder, *, flow=True, **changes):
    return evaluate(
        clips=data / "clips",
        flow=data / "flow" if flow else None,
        models=bundles,
        params=parse_params(EvaluateSettings, PARAMS | changes, where="evaluation"),
        evaluation=folder / "evaluation",
        report=folder / "report.html",
    )


@pytest.fixture(scope="module")
def done(data, bundles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    (bundles["student"] / "curves.csv").write_text("step,name,value\n1,train/loss,2.0\n2,train/loss,1.0\n")
    return folder, run(data, list(bundles.values()), folder)


def test_the_evaluation_folder_is_complete(done):
    folder, _ = done
    found = sorted(str(p.relative_to(folder / "evaluation")) for p in (folder / "evaluation").rglob("*") if p.is_file())
    scores = [f"scores/{name}.parquet" for name in ("plain", "student", "teacher")]
    found = [name for name in found if not name.startswith("examples/")]
    assert found == ["confusion.csv", "examples.csv", "groups.parquet", "metrics.json", "per_class.csv", *scores]
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation", "report.html"]


def test_a_model_may_have_another_number_of_windows_and_its_own_protocol_is_kept(data, bundles, tmp_path):
    models = [bundles["plain"], bundles["student"]]
    changes = {"fusion": [], "examples": 0, "baselines": False, "view_aggregation": "logits"}
    run(data, models, tmp_path / "both", flow=False, **changes, clips_per_video_of={"plain": 1})
    run(data, models, tmp_path / "one", flow=False, **changes, clips_per_video=1)
    both, one = (
        {name: Scores.load(tmp_path / run / "evaluation" / "scores" / f"{name}.parquet").logits for name in NAMES}
        for run in ("both", "one")
    )
    assert np.array_equal(both["plain"], one["plain"])
    assert not np.allclose(both["student"], one["student"])
    views = {name: read_evaluation(tmp_path / "both" / "evaluation", name).views for name in NAMES}
    assert {name: each.clips_per_video for name, each in views.items()} == {"plain": 1, "student": 2}
    assert {each.view_aggregation for each in views.values()} == {"logits"}
    with pytest.raises(KineflowError, match="'other'"):
        run(data, models, tmp_path / "other", flow=False, **changes, clips_per_video_of={"other": 1})


def test_metrics_follow_from_the_saved_scores(done):
    folder, result = done
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert metrics["data"]["split"] == "test"
    assert metrics["data"]["clips"] == 6
    scores = {
        n: Scores.load(folder / "evaluation" / "scores" / f"{n}.parquet") for n in ("student", "plain", "teacher")
    }
    for name, found in scores.items():
        assert metrics[name]["top1"] == (found.predictions() == found.labels).mean() == result.metrics[f"{name}/top1"]
    mixed = fuse([scores["student"], scores["plain"]], [3, 1])
    assert metrics["fusion"]["student + plain"]["top1"] == (mixed.predictions() == mixed.labels).mean()
    assert sum(metrics["fusion"]["teacher + student"]["weights"].values()) == pytest.approx(1)
    assert result.tags["evaluation.data_version"] == metrics["data"]["version"]


def test_the_result_holds_the_confusion_of_the_student(done):
    folder, result = done
    classes, counts = result.confusion
    assert classes == list(CLASSES)
    assert np.sum(counts) == 6
    student = Scores.load(folder / "evaluation" / "scores" / "student.parquet")
    assert np.trace(counts) == (student.predictions() == student.labels).sum()


def test_the_report_shows_models_examples_flow_and_training(done):
    html = (done[0] / "report.html").read_text()
    assert html.count("data:image/jpeg") == 3 * 6 * 2  # three clips, six frames of each and their flow
    assert "Colour wheel of flow" in html
    assert "Training curves" in html
    assert "student + plain" in html
    assert json.loads((done[0] / "evaluation" / "metrics.json").read_text())["data"]["version"] in html


def test_the_same_run_gives_the_same_files(data, bundles, done, tmp_path):
    again = run(data, list(bundles.values()), tmp_path)
    assert again.metrics == done[1].metrics
    for path in (done[0] / "evaluation").rglob("*.*"):
        assert (tmp_path / "evaluation" / path.relative_to(done[0] / "evaluation")).read_bytes() == path.read_bytes()


def test_trivial_baselines_are_apart_from_models_and_can_be_left_out(data, bundles, done, tmp_path):
    folder, result = done
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert list(metrics["baselines"]) == ["class prior", "motion energy", "single frame", "length, rate and size"]
    for name, figures in metrics["baselines"].items():
        gain = figures["student_gain"]
        assert gain["value"] == pytest.approx(metrics["student"]["top1"] - figures["top1"])
        assert gain["low"] < gain["high"]
        assert result.metrics[f"baselines/{name.replace(',', '')}/top1"] == figures["top1"]
    assert "trivial baseline" in result.summary  # networks that have learnt nothing beat none
    assert "Trivial baselines" in (folder / "report.html").read_text()
    assert "chosen on 2 clips of val" in " ".join((folder / "report.html").read_text().lower().split())
    without = run(
        data, [bundles["plain"]], tmp_path, flow=False, student=None, baseline=None, fusion=[], baselines=False
    )
    assert "trivial" not in without.summary
    assert not any(name.startswith("baselines/") for name in without.metrics)


def test_one_model_alone_needs_neither_flow_nor_parameters(data, bundles, tmp_path):
    result = run(data, [bundles["plain"]], tmp_path, flow=False, student=None, baseline=None, fusion=[], examples=1)
    own = {name for name in result.metrics if not name.startswith("baselines/")}
    assert own > {f"plain/{name}" for name in ("top1", "top1_low", "top1_high", "auc", "auc_low", "ece", "brier")}
    assert all(name.startswith("plain/") for name in own)
    assert "Colour wheel of flow" not in (tmp_path / "report.html").read_text()


def test_the_model_that_val_chooses_is_what_the_evaluation_is_about(data, bundles, tmp_path):
    """Its figures are of test, beside those of every other model, and so are its gains over trivial baselines."""
    trained = [bundles["plain"], bundles["student"]]
    result = run(data, trained, tmp_path, choose_among=["student", "plain"], baseline=None, fusion=[])
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    best = metrics["data"]["student"]
    assert metrics["data"]["chosen_on_val"]["loss"].keys() == {"student", "plain"}
    assert metrics["data"] | {"split": "test", "clips": 6} == metrics["data"]
    assert f"{best} was chosen: " in result.summary
    assert f"{best} was chosen" in (tmp_path / "report.html").read_text()
    measured = read_evaluation(tmp_path / "evaluation", best)
    assert measured.gains["class prior"].value == pytest.approx(
        measured.metrics["top1"] - metrics["baselines"]["class prior"]["top1"]
    )


def test_models_that_learnt_val_are_not_judged_by_it(data, tmp_path):
    losses = {"plain": 0.4, "student": 0.6}
    refit = [bundle(tmp_path, name, fitted_on="train, val", **{"val/loss": loss}) for name, loss in losses.items()]
    result = run(data, refit, tmp_path, flow=False, choose_among=["student", "plain"], fusion=[])
    assert "plain was chosen: its loss was the lowest on 2 clips of val before the refit" in result.summary
    weighed = {"models": ["student", "plain"], "weights": "val"}
    with pytest.raises(KineflowError, match="cannot be chosen on val: plain, student learnt from it"):
        run(data, refit, tmp_path / "weighed", flow=False, fusion=[weighed])


def test_without_val_nothing_is_chosen_by_it(data, bundles, tmp_path):
    clip_set = ClipSet.load(data / "clips")
    tested = tuple(clip for clip in clip_set.clips if clip.split is Split.TEST)
    dataclasses.replace(clip_set, clips=tested).save(tmp_path / "clips")
    with pytest.raises(KineflowError, match="choose_among cannot go by val: the clip set has no usable clip in it"):
        run(tmp_path, [bundles["plain"]], tmp_path, flow=False, choose_among=["plain"], student="plain", fusion=[])


def test_clips_of_another_rate_than_a_model_has_learnt_from_are_refused(data, bundles, tmp_path):
    dataclasses.replace(ClipSet.load(data / "clips"), fps=10.0).save(tmp_path / "clips")
    (tmp_path / "flow").symlink_to(data / "flow")
    with pytest.raises(KineflowError, match="motion would be of another speed"):
        run(tmp_path, [bundles["plain"]], tmp_path, flow=False, student=None, baseline=None, fusion=[])


def test_scores_of_another_tool_enter_a_fusion(data, bundles, tmp_path):
    plain = run(data, [bundles["plain"]], tmp_path / "first", flow=False, student=None, baseline=None, fusion=[])
    assert plain.metrics["plain/top1"] < 1
    own = Scores.load(tmp_path / "first" / "evaluation" / "scores" / "plain.parquet")
    rows = [
        f"{clip},{','.join('100' if name == CLASSES[label] else '0' for name in CLASSES)}"
        for clip, label in zip(own.clip_ids, own.labels, strict=True)
    ]
    (tmp_path / "idt.csv").write_text("\n".join([f"clip,{','.join(CLASSES)}", *rows]))
    run(
        data,
        [bundles["plain"]],
        tmp_path / "second",
        flow=False,
        student=None,
        baseline=None,
        imported=[{"name": "idt", "path": str(tmp_path / "idt.csv")}],
        fusion=[{"models": ["plain", "idt"], "average": "logits"}],
    )
    metrics = json.loads((tmp_path / "second" / "evaluation" / "metrics.json").read_text())
    assert metrics["fusion"]["plain + idt"]["top1"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": "studnet"}, r"unknown model 'studnet'\n.*'plain', 'student', 'teacher'"),
        ({"baseline": "rgb"}, "unknown model 'rgb'"),
        ({"choose_among": ["plain", "d"]}, "unknown model 'd'"),
        ({"fusion": [{"models": ["plain", "flow"]}]}, "unknown model 'flow'"),
        ({"imported": [{"name": "idt", "path": "nowhere.csv"}]}, "not readable as CSV.*nowhere.csv"),
    ],
)
def test_faults_are_found_before_scoring_and_nothing_is_written(data, bundles, tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr("kineflow.evaluation.compare.load_bundle", lambda _: pytest.fail("a model was loaded"))
    with pytest.raises(KineflowError, match=message):
        run(data, list(bundles.values()), tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_double_names_and_other_classes_are_refused(data, bundles, tmp_path):
    with pytest.raises(KineflowError, match="several models are named 'plain'"):
        run(data, [bundles["plain"], bundles["plain"]], tmp_path / "out", student=None, fusion=[])
    other = bundle(tmp_path, "other", classes=("left", "up"))
    with pytest.raises(KineflowError, match="'plain' and 'other' were trained for different classes"):
        run(data, [bundles["plain"], other], tmp_path / "out", student=None, fusion=[])
    assert not (tmp_path / "out").exists()


def test_a_flow_model_without_flow_is_an_error(data, bundles, tmp_path):
    with pytest.raises(KineflowError, match="no flow set was given"):
        run(data, list(bundles.values()), tmp_path, flow=False)
    assert not list(tmp_path.iterdir())


def test_a_clip_whose_bytes_are_gone_is_named(data, bundles, tmp_path):
    clip_set = ClipSet.load(data / "clips")
    gone = tuple(dataclasses.replace(clip, path="gone.mp4") for clip in clip_set.clips)
    dataclasses.replace(clip_set, clips=gone).save(tmp_path / "clips")
    with pytest.raises(KineflowError, match=r"gone\.mp4"):
        evaluate(
            clips=tmp_path / "clips",
            models=[bundles["plain"]],
            params=EvaluateSettings(),
            evaluation=tmp_path / "evaluation",
            report=tmp_path / "report.html",
        )


class TestTsn:
    """The streams of a TSN: flow and warped flow from their own sets, fused by the paper's weights."""

    @pytest.fixture(scope="class")
    def streams(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("streams")
        made = {}
        for seed, (name, modality, length) in enumerate(
            [("rgb", "rgb", 1), ("flow", "flow", 3), ("warped", "warped_flow", 3)]
        ):
            torch.manual_seed(seed)
            channels = 3 if modality == "rgb" else 2
            hyper = {"backbone": "resnet50", "width": 0.125, "output_stride": 8, "snippet_frames": length}
            network = create_model("tsn", num_classes=2, in_channels=channels, **hyper)
            network.get_submodule(network.classifier_name).weight.data.mul_(100)
            preprocessing = Preprocessing(
                modality, length, 1, SIDE, SIDE - 4, (127.5,) * channels, (64.0,) * channels, segments=3
            )
            made[name] = folder / name
            save_bundle(made[name], network, ModelCard(name, "tsn", hyper, CLASSES, preprocessing))
        return made

    def run(self, data, streams, out, warped):
        params = parse_params(
            EvaluateSettings,
            {
                "clips_per_video": 4,
                "crops": 10,
                "batch_size": 32,
                "examples": 0,
                "fusion": [
                    {"models": ["rgb", "flow"], "weights": [1, 1.5], "average": "logits"},
                    {"models": ["rgb", "flow", "warped"], "weights": [1, 1, 0.5], "average": "logits"},
                ],
            },
            where="evaluation",
        )
        evaluate(
            clips=data / "clips", flow=data / "flow", warped=warped, models=list(streams.values()), params=params,
            evaluation=out / "evaluation", report=out / "report.html",
        )  # fmt: skip
        return {name: Scores.load(out / "evaluation" / "scores" / f"{name}.parquet") for name in streams}

    def test_fusion_is_of_scores_before_the_softmax(self, data, streams, tmp_path):
        scores = self.run(data, streams, tmp_path, data / "flow")
        metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
        for members, weights in ((("rgb", "flow"), (1, 1.5)), (("rgb", "flow", "warped"), (1, 1, 0.5))):
            sums = sum(weight * scores[name].logits for name, weight in zip(members, weights, strict=True))
            top1 = (sums.argmax(axis=1) == scores["rgb"].labels).mean()
            assert metrics["fusion"][" + ".join(members)]["top1"] == pytest.approx(top1)

    def test_each_flow_stream_reads_its_own_set(self, data, streams, tmp_path):
        still = tmp_path / "still"
        flow_set = FlowSet.load(data / "flow")
        for name in flow_set.entries:
            write_flow(still / "media" / f"{name}.mp4", np.full((FRAMES - 1, SIDE, SIDE, 2), 128, np.uint8))
        dataclasses.replace(flow_set, media_root=str(still / "media")).save(still)
        same = self.run(data, streams, tmp_path / "same", data / "flow")
        other = self.run(data, streams, tmp_path / "other", still)
        assert np.array_equal(same["flow"].logits, other["flow"].logits)
        assert not np.allclose(same["warped"].logits, other["warped"].logits)
        with pytest.raises(KineflowError, match="no flow set was given"):
            self.run(data, streams, tmp_path / "none", None)
