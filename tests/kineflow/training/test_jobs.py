import dataclasses
import re
from pathlib import Path

import pytest
import torch

from components.pretrain_tsn import pretrain_tsn
from kineflow.data.device_decoding import UnfitForDeviceError
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.models.bundle import load_bundle, save_bundle, weights_digest
from kineflow.models.card import load_card
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.models.registry import create_model
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.split import Split
from kineflow.spec.tvl1 import TVL1Params, tvl1_params
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER, NullTracker
from kineflow.training import clips, decoded_batches
from kineflow.training.clips import Data
from kineflow.training.distil_student import distil_student
from kineflow.training.distillation import Distillation
from kineflow.training.jobs import Trained, train_network
from kineflow.training.settings import DistillSettings, TrainSettings

pytestmark = pytest.mark.slow


def settings(**changes) -> TrainSettings:
    values = {
        "frames": 4, "short_side": 16, "crop": 12, "steps": 2, "validate_every_steps": 1, "batch_size": 3,
        "cache_mb": 16, "flip": False,
    }  # fmt: skip
    return TrainSettings(**(values | changes))


@pytest.fixture
def data(tiny_data) -> Data:
    return Data(ClipSet.load(tiny_data.clips), FlowSet.load(tiny_data.flow))


@pytest.fixture(scope="module")
def teacher(tiny_initial, tmp_path_factory) -> Path:
    """A bundle of the flow stream that knows the classes of the tiny clips, with random weights."""
    return make_teacher(tiny_initial["flow"], tmp_path_factory.mktemp("teacher"))


def make_teacher(
    initial: Path, folder: Path, *, name="teacher", classes=("dark", "light"), width: float = 0.125, **geometry
) -> Path:
    card = load_card(initial)
    preprocessing = dataclasses.replace(
        card.preprocessing, **({"frames": 4, "short_side": 16, "crop": 12, "stride_frames": 1} | geometry)
    )
    hyperparameters = {**card.hyperparameters, "width": width}
    torch.manual_seed(0)
    network = create_model("s3d", num_classes=len(classes), in_channels=len(card.preprocessing.mean), **hyperparameters)
    card = dataclasses.replace(
        card, name=name, classes=tuple(classes), preprocessing=preprocessing, hyperparameters=hyperparameters
    )
    save_bundle(folder / name, network, card)
    return folder / name


def train(data: Data, initial: Path, work: Path, **changes) -> Trained:
    return train_network(data, initial, settings(**changes), name="plain", seed=3, work=work, tracker=NULL_TRACKER)


def distil(
    data: Data, initial: Path, teacher: Path | list[Path], work: Path, *, use_unlabelled: bool = False, **given
) -> Trained:
    return distil_student(
        data,
        initial,
        teacher if isinstance(teacher, list) else [teacher],
        given.pop("settings", settings()),
        DistillSettings(unlabelled_batch_size=2, **given),
        name="student",
        use_unlabelled=use_unlabelled,
        seed=3,
        work=work,
        tracker=NULL_TRACKER,
    )


def weights(trained: Trained) -> list[torch.Tensor]:
    return list(trained.network.state_dict().values())


def same(first: Trained, second: Trained) -> bool:
    return all(torch.equal(*pair) for pair in zip(weights(first), weights(second), strict=True))


class TestTraining:
    @pytest.mark.parametrize("modality", ["rgb", "flow"])
    def test_a_trained_network_is_a_bundle_that_loads(self, data, tiny_initial, tmp_path, modality):
        trained = train(data, tiny_initial[modality], tmp_path / "work")
        save_bundle(tmp_path / "model", trained.network, trained.card)
        network, card = load_bundle(tmp_path / "model")
        assert card == trained.card
        assert (card.name, card.architecture, card.classes) == ("plain", "s3d", ("dark", "light"))
        seen = card.preprocessing
        assert (seen.modality, seen.frames, seen.stride_frames, seen.short_side, seen.crop) == (modality, 4, 1, 16, 12)
        assert seen.mean == load_card(tiny_initial[modality]).preprocessing.mean
        assert card.lineage["origin"] == "from scratch"
        assert set(card.metrics) == {"val/top1", "val/loss", "kept_step"}
        assert 1 <= card.metrics["kept_step"] <= 2
        assert "best after" in trained.summary
        clip = torch.rand(1, len(seen.mean), 4, 12, 12)
        torch.testing.assert_close(network(clip), trained.network.eval()(clip))

    def test_where_clips_are_decoded_changes_nothing_but_colours(
        self, data, tiny_initial, tmp_path, monkeypatch, caplog
    ):
        def refuse(*_):
            raise UnfitForDeviceError("it is too small")

        monkeypatch.setattr(clips, "decoding_here", lambda wanted, device: wanted)
        monkeypatch.setattr(decoded_batches, "decode_on", refuse)
        on_cpu, ahead = (
            train(data, tiny_initial["rgb"], tmp_path / where, decoding=where, flip=True) for where in ("cpu", "cuda")
        )
        assert same(on_cpu, ahead)
        assert "it is too small" in caplog.text

    def test_a_model_has_the_rate_of_its_clips(self, data, teacher, tiny_initial, tmp_path):
        at_ten = dataclasses.replace(data, clip_set=dataclasses.replace(data.clip_set, fps=10.0))
        for given, fps in ((data, 0.0), (at_ten, 10.0)):
            trained = train(given, tiny_initial["rgb"], tmp_path / f"work-{fps}")
            save_bundle(tmp_path / f"model-{fps}", trained.network, trained.card)
            card = load_card(tmp_path / f"model-{fps}")
            assert card.preprocessing.fps == fps
            assert ('"fps"' in (tmp_path / f"model-{fps}" / "model.json").read_text()) is (fps > 0)
        with pytest.raises(KineflowError, match="teacher 'teacher'"):
            distil(at_ten, tiny_initial["rgb"], teacher, tmp_path / "student")

    def test_it_starts_from_the_initial_weights(self, data, tiny_initial, tmp_path):
        barely = {"learning_rate": 1e-9, "weight_decay": 0}
        trained = train(data, tiny_initial["rgb"], tmp_path, optimiser=barely)
        initial, _ = load_bundle(tiny_initial["rgb"])
        torch.testing.assert_close(trained.network.stem.weight, initial.stem.weight, atol=1e-6, rtol=0)

    def test_the_seed_decides(self, data, tiny_initial, tmp_path):
        first, again = (train(data, tiny_initial["rgb"], tmp_path / name) for name in "ab")
        other = train_network(
            data, tiny_initial["rgb"], settings(), name="plain", seed=4, work=tmp_path / "c", tracker=NULL_TRACKER
        )
        assert same(first, again)
        assert not same(first, other)

    def test_an_rgb_stream_needs_no_flow(self, data, tiny_initial, tmp_path):
        assert train(dataclasses.replace(data, flow_set=None), tiny_initial["rgb"], tmp_path).network is not None

    def test_a_flow_stream_does(self, data, tiny_initial, tmp_path):
        with pytest.raises(KineflowError, match="needs a flow set"):
            train(dataclasses.replace(data, flow_set=None), tiny_initial["flow"], tmp_path)

    @pytest.mark.parametrize("split", [Split.TRAIN, Split.VAL])
    def test_a_split_without_clips(self, data, tiny_initial, tmp_path, split):
        clips = tuple(clip for clip in data.clip_set.clips if clip.split is not split)
        empty = dataclasses.replace(data, clip_set=dataclasses.replace(data.clip_set, clips=clips))
        with pytest.raises(KineflowError, match=f"no usable clip in split '{split}'"):
            train(empty, tiny_initial["rgb"], tmp_path)


class TestWithoutVal:
    @pytest.fixture
    def all_train(self, data) -> Data:
        clips = (
            dataclasses.replace(c, split=Split.TRAIN if c.split is Split.VAL else c.split) for c in data.clip_set.clips
        )
        return dataclasses.replace(data, clip_set=dataclasses.replace(data.clip_set, clips=tuple(clips)))

    def test_the_last_round_is_kept_and_the_best_one_refused(self, all_train, tiny_initial, tmp_path):
        with pytest.raises(KineflowError, match=r"no usable clip in split 'val'[^$]*keep: last"):
            train(all_train, tiny_initial["rgb"], tmp_path / "refused")
        trained = train(all_train, tiny_initial["rgb"], tmp_path / "work", keep="last")
        assert trained.card.metrics == {"kept_step": 2.0}
        assert (trained.card.lineage["kept"], trained.card.lineage["fitted_on"]) == ("last after 2 steps", "train")

    def test_a_refit_is_a_training_on_both_for_as_long_as_was_best(self, data, all_train, tiny_initial, tmp_path):
        course = {"steps": 3, "batch_size": 6, "optimiser": {"learning_rate": 0.01, "schedule": "constant"}}
        refit = train(data, tiny_initial["rgb"], tmp_path / "refit", refit=True, **course)
        chosen = train(data, tiny_initial["rgb"], tmp_path / "chosen", **course)
        assert refit.fitted.kept_step == chosen.fitted.kept_step
        assert refit.card.metrics == chosen.card.metrics
        assert refit.card.lineage["fitted_on"] == "train, val"
        course["steps"] = chosen.fitted.kept_step
        assert same(refit, train(all_train, tiny_initial["rgb"], tmp_path / "both", keep="last", **course))
        assert not same(refit, chosen)

    def test_what_has_learnt_val_is_not_chosen_by_it_downstream(self, data, tiny_initial, tmp_path):
        network, card = load_bundle(tiny_initial["rgb"])
        learnt = dataclasses.replace(card, lineage={**card.lineage, "fitted_on": "train, val"})
        save_bundle(tmp_path / "start", network, learnt)
        with pytest.raises(KineflowError, match="have learnt from it"):
            train(data, tmp_path / "start", tmp_path / "refused")
        card = train(data, tmp_path / "start", tmp_path / "work", keep="last").card
        assert card.lineage["fitted_on"] == "train, val"
        assert "val/loss" not in card.metrics

    def test_a_refit_goes_on_where_it_was_interrupted_and_knows_no_early_stop(self, data, tiny_initial, tmp_path):
        course = settings(refit=True, steps=6, patience_rounds=1, optimiser={"learning_rate": 1e-9})

        class Interrupting(NullTracker):
            def log_metrics(self, metrics, step):
                if step == 2 and any(name.startswith("refit/") for name in metrics):
                    raise KeyboardInterrupt

        def run(work, tracker=NULL_TRACKER, **changes):
            return train_network(
                data, tiny_initial["rgb"], course.model_copy(update=changes), name="plain", seed=3, work=work,
                tracker=tracker,
            )  # fmt: skip

        stopped = run(tmp_path / "stopped")
        assert stopped.fitted.kept_step < 6
        assert "stopped_after_steps" not in stopped.fitted.metrics
        assert list(tmp_path.glob("stopped/**/last.ckpt"))
        learning = {"patience_rounds": 0, "optimiser": settings(optimiser={"learning_rate": 0.01}).optimiser}
        whole = run(tmp_path / "whole", **learning)
        assert whole.fitted.kept_step > 1
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "work", Interrupting(), **learning)
        again = run(tmp_path / "work", **learning)
        assert same(whole, again)
        assert whole.card == again.card

    def test_epochs_and_what_they_came_to_are_recorded(self, all_train, tiny_initial, tmp_path):
        noted = {}

        class Noting(NullTracker):
            def note_params(self, params):
                noted.update(params)

        by_epochs = settings(steps=0, validate_every_steps=0, epochs=2, validate_every_epochs=1, keep="average")
        trained = train_network(
            all_train, tiny_initial["rgb"], by_epochs, name="plain", seed=3, work=tmp_path, tracker=Noting()
        )
        assert noted == {"trained": {"steps": 4, "validate_every_steps": 2}}
        assert trained.card.lineage["kept"] == "average of the last 2 rounds after 4 steps"


class TestDistillation:
    def test_the_card_names_the_teacher(self, data, tiny_initial, teacher, tmp_path):
        trained = distil(data, tiny_initial["rgb"], teacher, tmp_path)
        assert (trained.card.name, trained.card.lineage["teacher"]) == ("student", "teacher")
        assert trained.card.preprocessing.modality == "rgb"
        assert len(trained.card.preprocessing.mean) == 3

    def test_the_teacher_makes_a_difference(self, data, tiny_initial, teacher, tmp_path):
        plain = train(data, tiny_initial["rgb"], tmp_path / "plain")
        without, taught = (
            distil(data, tiny_initial["rgb"], teacher, tmp_path / str(weight), kd_weight=weight)
            for weight in (0.0, 5.0)
        )
        assert same(plain, without)
        assert not same(plain, taught)

    def test_a_flow_student_of_an_rgb_teacher(self, data, tiny_initial, tmp_path):
        rgb_teacher = make_teacher(tiny_initial["rgb"], tmp_path)
        trained = distil(data, tiny_initial["flow"], rgb_teacher, tmp_path / "work", direction="rgb_to_flow")
        assert trained.card.preprocessing.modality == "flow"

    def test_pooled_features(self, data, tiny_initial, teacher, tmp_path):
        logits, features = (
            distil(data, tiny_initial["rgb"], teacher, tmp_path / layer, layer=layer)
            for layer in ("logits", "features")
        )
        assert not same(logits, features)


class TestTeachersOfAnotherKind:
    def test_an_rgb_teacher_that_is_longer_larger_and_wider(self, data, tiny_initial, tmp_path):
        large = make_teacher(
            tiny_initial["rgb"], tmp_path, width=0.25, frames=6, stride_frames=2, short_side=20, crop=16
        )
        without_flow = dataclasses.replace(data, flow_set=None)
        terms = [{"loss": "kl", "temperature": 2.0}, {"layer": "features", "weight": 5.0}]
        trained = distil(
            without_flow,
            tiny_initial["rgb"],
            large,
            tmp_path / "work",
            direction="rgb_to_rgb",
            kd_weight=0.5,
            terms=terms,
        )
        initial = load_bundle(tiny_initial["rgb"])[0].state_dict()
        new = {"classifier.1.weight", "classifier.1.bias"}  # and no projector
        assert trained.network.state_dict().keys() - initial.keys() == new
        facts = trained.card.lineage
        assert facts["distillation"] == "0.5 × (1 × kl of logits, temperature 2 + 5 × mse of features)"
        assert facts["teacher_weights_sha256"] == weights_digest(large)
        assert "flow" not in facts
        seen = trained.card.preprocessing
        assert (seen.frames, seen.stride_frames, seen.crop) == (4, 1, 12)

    def test_several_teach_at_once_and_the_card_names_them(self, data, tiny_initial, teacher, tmp_path):
        large = make_teacher(tiny_initial["rgb"], tmp_path, name="large", width=0.25, frames=6)
        trained = distil(data, tiny_initial["rgb"], [teacher, large], tmp_path / "work")
        facts = trained.card.lineage
        assert (facts["teacher"], facts["teacher_2"]) == ("teacher", "large")
        assert facts["teacher_2_weights_sha256"] == weights_digest(large)
        terms = [{"teacher": "large"}]
        large_alone = distil(
            data, tiny_initial["rgb"], [teacher, large], tmp_path / "one", direction="rgb_to_rgb", terms=terms
        )
        assert large_alone.card.lineage["teacher"] == "large"
        assert not same(trained, large_alone)

    def test_other_classes_teach_by_their_features(self, data, tiny_initial, tmp_path):
        teacher = make_teacher(tiny_initial["flow"], tmp_path, classes=("run", "jump", "swim"))
        assert distil(data, tiny_initial["rgb"], teacher, tmp_path / "work", layer="features").network.num_classes == 2


class TestUnlabelledClips:
    @pytest.fixture
    def seen(self, monkeypatch) -> list[list[int]]:
        """Labels of every training batch."""
        batches, loss = [], Distillation.loss

        def listening(task, batch):
            batches.append(batch["label"].tolist())
            return loss(task, batch)

        monkeypatch.setattr(Distillation, "loss", listening)
        return batches

    def test_each_step_adds_unlabelled_clips_and_never_a_label_of_theirs(
        self, data, tiny_initial, teacher, tmp_path, seen
    ):
        clips = tuple(dataclasses.replace(clip, label=clip.label or "light") for clip in data.clip_set.clips)
        leaking = dataclasses.replace(data, clip_set=dataclasses.replace(data.clip_set, clips=clips))
        distil(leaking, tiny_initial["rgb"], teacher, tmp_path, use_unlabelled=True)
        assert len(seen) == 2
        for labels in seen:
            assert set(labels[:3]) <= {0, 1}
            assert labels[3:] == [-1, -1]

    def test_they_are_left_out_unless_asked_for(self, data, tiny_initial, teacher, tmp_path, seen):
        distil(data, tiny_initial["rgb"], teacher, tmp_path)
        assert all(len(labels) == 3 and -1 not in labels for labels in seen)

    def test_they_make_a_difference(self, data, tiny_initial, teacher, tmp_path):
        labelled, both = (
            distil(data, tiny_initial["rgb"], teacher, tmp_path / str(use), use_unlabelled=use) for use in (False, True)
        )
        assert not same(labelled, both)

    def test_the_set_must_have_some(self, data, tiny_initial, teacher, tmp_path):
        clips = tuple(clip for clip in data.clip_set.clips if clip.split is not Split.UNLABELLED)
        without = dataclasses.replace(data, clip_set=dataclasses.replace(data.clip_set, clips=clips))
        with pytest.raises(KineflowError, match="no usable clip in split 'unlabelled'"):
            distil(without, tiny_initial["rgb"], teacher, tmp_path, use_unlabelled=True)


class TestPairsThatDoNotFit:
    """Each is refused before anything is trained."""

    def refused(self, said: str, *arguments, **given) -> None:
        with pytest.raises(KineflowError, match=re.escape(said)) as caught:
            distil(*arguments, **given)
        assert caught.value.remedy

    def test_direction(self, data, tiny_initial, teacher, tmp_path):
        said = "make flow_to_rgb, not distillation.direction rgb_to_flow"
        self.refused(said, data, tiny_initial["rgb"], teacher, tmp_path, direction="rgb_to_flow")
        self.refused("make flow_to_flow", data, tiny_initial["flow"], teacher, tmp_path)

    @pytest.mark.parametrize("classes", [("dark", "light", "red"), ("light", "dark"), ("dark", "red")])
    def test_classes(self, data, tiny_initial, tmp_path, classes):
        teacher = make_teacher(tiny_initial["flow"], tmp_path, classes=classes)
        said = f"the teacher knows the classes {', '.join(classes)} ({len(classes)}), the clip set has dark, light (2)"
        self.refused(said, data, tiny_initial["rgb"], teacher, tmp_path)

    def test_maps_of_other_pieces_of_video(self, data, tiny_initial, tmp_path):
        teacher = make_teacher(tiny_initial["flow"], tmp_path, stride_frames=2)
        said = "the teacher sees 8 frames of video (frames × stride_frames) and the student 4"
        self.refused(said, data, tiny_initial["rgb"], teacher, tmp_path, layer="Mixed3b")

    def test_maps_of_pieces_that_vary(self, data, tiny_initial, tmp_path):
        teacher = make_teacher(tiny_initial["flow"], tmp_path, frames=2, stride_frames=2)
        said, varied = "the teacher sees 4 frames of video (frames × stride_frames) and the student 4 to 8", 2
        given = {"settings": settings(stride_frames_max=varied), "layer": "Mixed3b"}
        self.refused(said, data, tiny_initial["rgb"], teacher, tmp_path, **given)

    def test_a_teacher_is_compared_with_the_clips_of_the_training(self, data, tiny_initial, tmp_path):
        tested = {"test_frames": 6, "steps": 1}
        given = {"settings": settings(**tested), "layer": "Mixed3b"}
        other = make_teacher(tiny_initial["flow"], tmp_path, frames=6)
        said = "the teacher sees 6 frames of video (frames × stride_frames) and the student 4"
        self.refused(said, data, tiny_initial["rgb"], other, tmp_path, **given)
        own = train(data, tiny_initial["flow"], tmp_path / "teacher", **tested)
        save_bundle(tmp_path / "own", own.network, own.card)
        assert distil(data, tiny_initial["rgb"], tmp_path / "own", tmp_path / "work", **given)

    def test_a_teacher_that_is_not_there(self, data, tiny_initial, teacher, tmp_path):
        said = "no teacher is called 'big'"
        self.refused(said, data, tiny_initial["rgb"], teacher, tmp_path, terms=[{"teacher": "big"}])

    def test_a_stage_that_a_network_does_not_have(self, data, tiny_initial, teacher, tmp_path):
        said = "the network has no stage 'Mixed5c'"
        self.refused(said, data, tiny_initial["rgb"], teacher, tmp_path, layer="Mixed5c")


class TestCards:
    """What a trained model's card says beside its curves."""

    def test_the_clip_of_the_test_may_be_another_than_that_of_training(self, data, tiny_initial, tmp_path):
        card = train(
            data, tiny_initial["rgb"], tmp_path, frames=2, stride_frames=1, stride_frames_max=2, test_frames=5,
            test_stride_frames=3, short="closer", fit="squash",
        ).card  # fmt: skip
        seen = card.preprocessing
        assert (seen.frames, seen.stride_frames, seen.short, seen.fit) == (5, 3, "closer", "squash")

    def test_a_classifier_for_these_classes_is_kept_and_another_is_not(self, data, tiny_initial, tmp_path):
        still = {"name": "sgd", "learning_rate": 1e-12, "weight_decay": 0}
        for classes, kept in ((data.clip_set.classes, True), (("left", "right"), False)):
            initial = make_teacher(tiny_initial["rgb"], tmp_path / classes[0], classes=classes)
            trained = train(data, initial, tmp_path / "work" / classes[0], optimiser=still).network
            name = f"{trained.classifier_name}.weight"
            before, after = load_bundle(initial)[0].state_dict()[name], trained.state_dict()[name]
            assert torch.allclose(before, after, atol=1e-8) is kept

    def test_how_its_flow_was_made(self, data, tiny_initial, tmp_path):
        made = FlowSet(
            7.0,
            data.flow_set.entries,
            data.flow_set.media_root,
            ExtractSettings(tvl1=tvl1_params("fast"), bound_px=7.0).described(),
        )
        source = train(Data(data.clip_set, made), tiny_initial["flow"], tmp_path / "a").card.flow
        assert (source.bound_px, source.camera_motion, source.short_side) == (7.0, "kept", 16)
        assert TVL1Params(**source.tvl1) == tvl1_params("fast")
        assert train(data, tiny_initial["flow"], tmp_path / "b").card.flow is None  # of another tool
        assert train(Data(data.clip_set, made), tiny_initial["rgb"], tmp_path / "c").card.flow is None


class TestSnippets:
    """The streams of a TSN are trained by the same job."""

    @pytest.fixture(scope="class")
    def streams(self, tmp_path_factory) -> dict[str, Path]:
        folder = tmp_path_factory.mktemp("streams")
        folders = {name: folder / name for name in ("rgb", "difference", "flow", "warped")}
        params = PretrainTsnSettings(
            backbone="resnet50", width=0.125, output_stride=8, flow_frames=2, difference_frames=2
        )
        pretrain_tsn(params=params, **folders)
        return folders

    @pytest.mark.parametrize(("stream", "frames"), [("rgb", 1), ("difference", 2), ("flow", 2), ("warped", 2)])
    def test_every_stream_trains_and_its_card_says_how(self, data, streams, tmp_path, stream, frames):
        trained = train(data, streams[stream], tmp_path, frames=frames, crop_scales=(1, 0.75), flip=True)
        preprocessing = trained.card.preprocessing
        assert (preprocessing.frames, preprocessing.segments, preprocessing.crop) == (frames, 3, 12)
        assert trained.card.architecture == "tsn"
        before = load_bundle(streams[stream])[0].state_dict()
        stem = f"{trained.network.stem_name}.weight"
        assert not torch.equal(trained.network.state_dict()[stem], before[stem])
        save_bundle(tmp_path / "bundle", trained.network, trained.card)
        assert load_bundle(tmp_path / "bundle")[1] == trained.card

    def test_the_snippet_s_length_is_the_network_s(self, data, streams, tmp_path):
        with pytest.raises(KineflowError, match="frames is 3, and snippets of 'initial-flow' have 2"):
            train(data, streams["flow"], tmp_path, frames=3)
        with pytest.raises(KineflowError, match=r"frames is 2 \(4 in tests\), and snippets of 'initial-flow' have 2"):
            train(data, streams["flow"], tmp_path, frames=2, test_frames=4)

    def test_what_has_learnt_nothing_cannot_be_frozen(self, data, streams, tmp_path):
        with pytest.raises(KineflowError, match="partial_norms freezes what 'initial-rgb' has never learnt"):
            train(data, streams["rgb"], tmp_path, frames=1, partial_norms="statistics")
        with pytest.raises(KineflowError, match="frozen freezes what 'initial-rgb' has never learnt"):
            train(data, streams["rgb"], tmp_path, frames=1, frozen="backbone")

    def test_frozen_statistics_are_those_of_the_start(self, data, streams, tmp_path):
        network, card = load_bundle(streams["rgb"])
        card = dataclasses.replace(card, lineage={"initialised": "from checkpoint"})
        save_bundle(tmp_path / "published", network, card)
        trained = train(data, tmp_path / "published", tmp_path / "work", frames=1, partial_norms="affine").network
        moved = {
            name
            for name, value in trained.state_dict().items()
            if "running" in name and not torch.equal(value, network.state_dict()[name])
        }
        assert moved == {"backbone.bn1.running_mean", "backbone.bn1.running_var"}

    def test_warped_flow_must_be_warped(self, data, streams, tmp_path):
        kept = dataclasses.replace(data, flow_set=dataclasses.replace(data.flow_set, params={"camera_motion": "kept"}))
        with pytest.raises(KineflowError, match="given flow with the camera's motion in it"):
            train(kept, streams["warped"], tmp_path, frames=2)
        removed = dataclasses.replace(data.flow_set, params={"camera_motion": "removed"})
        train(dataclasses.replace(data, flow_set=removed), streams["warped"], tmp_path, frames=2)
