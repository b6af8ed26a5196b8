import errno
import logging
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from kineflow.data.batch_sampler import BatchSampler, Pool, SampleRef
from kineflow.storage.errors import KineflowError
from kineflow.training.checkpoints import load_checkpoint
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.loop import Fitted, fit
from kineflow.training.settings import DistillSettings, TrainSettings
from kineflow.training.tasks import Classification

CLASSES, CLIPS, ROUNDS, STEPS_A_ROUND, BATCH = 3, 12, 5, 2, 4


class Clips(torch.utils.data.Dataset):
    """Noise of 4×8×8 px in which channel ``label`` (of flow: channel 0 or 1, or neither) is brighter."""

    def __init__(
        self, count: int, *, seed: int, labels: Callable[[int], int] = lambda number: number % CLASSES
    ) -> None:
        rng = np.random.default_rng(seed)
        self.samples, self.drawn = [], []
        self.before_reading: Callable[[], None] = lambda: None
        for number in range(count):
            sample = {"label": torch.tensor(labels(number))}
            for modality, channels in (("rgb", 3), ("flow", 2)):
                clip = rng.integers(0, 128, (channels, 4, 8, 8), dtype=np.uint8)
                clip[number % CLASSES :][:1] += 100
                sample[modality] = torch.from_numpy(clip)
            self.samples.append(sample)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | SampleRef) -> dict[str, torch.Tensor]:
        if isinstance(key, SampleRef):
            self.before_reading()
            self.drawn.append(key)
        return self.samples[key.clip if isinstance(key, SampleRef) else key]


class Recorder:
    """A tracker that keeps what it hears, and may interrupt."""

    def __init__(self, *, hear: Callable[[int], None] = lambda step: None) -> None:
        self.heard: dict[int, dict[str, float]] = {}
        self.hear = hear

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.heard[step] = dict(metrics)
        self.hear(step)

    def set_tags(self, tags: dict[str, str]) -> None:
        pass


def settings(**changes) -> TrainSettings:
    values = {
        "frames": 4,
        "short_side": 8,
        "crop": 8,
        "steps": ROUNDS * STEPS_A_ROUND,
        "validate_every_steps": STEPS_A_ROUND,
        "batch_size": BATCH,
        "monitor": "loss",
        "optimiser": {"learning_rate": 0.02},
    }
    return TrainSettings(**(values | changes))


def new_sampler(seed: int = 5) -> BatchSampler:
    return BatchSampler([Pool(tuple(range(CLIPS)), BATCH)], steps=STEPS_A_ROUND, seed=seed)


def train(task: Classification, work: Path, *, clips: Clips | None = None, val: Clips | None = None, **given) -> Fitted:
    return fit(
        task,
        train=clips or Clips(CLIPS, seed=0),
        batch_sampler=given.pop("batch_sampler", new_sampler()),
        val=val or Clips(6, seed=1),
        settings=given.pop("settings", settings()),
        seed=5,
        work=work,
        tracker=given.pop("tracker", Recorder()),
        device="cpu",
        **given,
    )


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def contradicting(number: int) -> int:
    """Labels for ``val`` that are wrong: the longer training goes on, the worse it looks."""
    return (number + 1) % CLASSES


@pytest.fixture
def task(tiny_network, rgb) -> Classification:
    return Classification(tiny_network(), rgb)


class TestLearning:
    @pytest.mark.slow
    def test_the_loss_falls_and_held_out_clips_are_recognised(self, task, tmp_path):
        recorder = Recorder()
        fitted = train(
            task, tmp_path, settings=settings(steps=60, validate_every_steps=20), tracker=recorder,
            batch_sampler=BatchSampler([Pool(tuple(range(CLIPS)), BATCH)], steps=20, seed=5),
        )  # fmt: skip
        assert recorder.heard[60]["train/loss"] < 0.5 * recorder.heard[20]["train/loss"]
        assert fitted.metrics["val/top1"] == 1.0
        assert fitted.metrics["clips_per_second"] > 0
        assert 0 <= fitted.metrics["data_wait_share"] <= 1

    def test_layers_that_differ_in_training_are_in_training_mode(self, task, tmp_path):
        """A bundle is loaded in evaluation mode."""
        fitted = train(task, tmp_path)
        assert task.network.norm.num_batches_tracked == fitted.kept_step

    def test_every_round_has_its_own_batches(self, task, tmp_path):
        clips = Clips(CLIPS, seed=0)
        train(task, tmp_path, clips=clips)
        expected, sampler = [], new_sampler()
        for number in range(ROUNDS):
            sampler.set_epoch(number)
            expected += [sample for batch in sampler for sample in batch]
        assert clips.drawn == expected

    @pytest.mark.slow
    def test_weights_depend_on_the_seed_alone(self, tiny_network, rgb, tmp_path):
        results = []
        for run in range(2):
            torch.manual_seed(run)
            task = Classification(tiny_network(), rgb)
            train(task, tmp_path / str(run))
            results.append(weights(task.network))
        assert same(*results)

    @pytest.mark.parametrize("deterministic", [True, False])
    def test_the_same_bits_each_time_are_a_setting(self, task, tmp_path, deterministic):
        heard = []
        recorder = Recorder(hear=lambda step: heard.append(torch.are_deterministic_algorithms_enabled()))
        before = torch.are_deterministic_algorithms_enabled()
        train(task, tmp_path, settings=settings(deterministic=deterministic), tracker=recorder)
        assert set(heard) == {deterministic}
        assert torch.are_deterministic_algorithms_enabled() == before

    def test_gradients_are_clipped(self, task, tmp_path):
        before = weights(task.network)
        optimiser = {"name": "sgd", "learning_rate": 1.0, "weight_decay": 0, "momentum": 0, "schedule": "constant"}
        optimiser |= {"warmup_ratio": 0, "clip_gradient_norm": 1e-3}
        train(
            task, tmp_path, settings=settings(steps=1, validate_every_steps=1, optimiser=optimiser),
            batch_sampler=BatchSampler([Pool(tuple(range(CLIPS)), BATCH)], steps=1, seed=5),
        )  # fmt: skip
        learnt = [name for name, _ in task.network.named_parameters()]
        moved = torch.cat([(task.network.state_dict()[name] - before[name]).flatten() for name in learnt])
        assert moved.norm().item() == pytest.approx(1e-3, rel=0.05)

    def test_bfloat16(self, task, tmp_path):
        fitted = train(task, tmp_path, settings=settings(precision="bf16"))
        assert np.isfinite(fitted.metrics["val/loss"])
        assert task.network.conv.weight.dtype == torch.float32


class TestBestRound:
    @pytest.mark.parametrize("monitor", ["loss", "top1"])
    def test_the_best_round_on_val_is_what_is_left(self, task, tmp_path, monitor):
        snapshots: dict[int, dict[str, torch.Tensor]] = {}
        recorder = Recorder(hear=lambda step: snapshots.update({step: weights(task.network)}))
        fitted = train(
            task,
            tmp_path,
            val=Clips(6, seed=1, labels=contradicting),
            tracker=recorder,
            settings=settings(monitor=monitor, optimiser={"learning_rate": 0.1}),
        )
        sign = {"loss": -1, "top1": 1}[monitor]
        best = max(recorder.heard, key=lambda step: sign * recorder.heard[step][f"val/{monitor}"])
        assert best < ROUNDS * STEPS_A_ROUND
        assert fitted.kept_step == best
        assert same(weights(task.network), snapshots[best])
        for name in ("val/top1", "val/loss"):
            assert fitted.metrics[name] == pytest.approx(recorder.heard[best][name])

    @pytest.mark.parametrize("ema", [0, 0.9])
    def test_figures_of_val_are_of_the_whole_split_and_of_what_is_kept_in_evaluation_mode(self, task, tmp_path, ema):
        val = Clips(7, seed=1)  # more than one batch, and the last one smaller
        fitted = train(task, tmp_path, val=val, settings=settings(ema=ema))
        task.eval()
        batch = {name: torch.stack([sample[name] for sample in val.samples]) for name in ("rgb", "label")}
        with torch.no_grad():
            logits = task.network(task.inputs(batch))
        assert fitted.metrics["val/loss"] == pytest.approx(
            torch.nn.functional.cross_entropy(logits, batch["label"]).item(), rel=1e-5
        )
        assert fitted.metrics["val/top1"] == pytest.approx((logits.argmax(1) == batch["label"]).float().mean().item())


class TestResume:
    """An interrupted run goes on where its last round ended, and ends as if nothing had happened."""

    @pytest.fixture
    def undisturbed(self, tiny_network, rgb, tmp_path) -> tuple[Fitted, dict[str, torch.Tensor], str]:
        task = Classification(tiny_network(), rgb)
        fitted = train(task, tmp_path / "undisturbed")
        return fitted, weights(task.network), (tmp_path / "undisturbed" / "curves.csv").read_text()

    def assert_same_end(self, undisturbed, fitted: Fitted, task: Classification, work: Path) -> None:
        expected, its_weights, its_curves = undisturbed
        assert fitted.kept_step == expected.kept_step
        assert fitted.metrics["val/loss"] == expected.metrics["val/loss"]
        assert same(weights(task.network), its_weights)
        assert (work / "curves.csv").read_text() == its_curves

    def interrupt(self, task: Classification, work: Path, **given) -> None:
        with pytest.raises(KeyboardInterrupt):
            train(task, work, **given)

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [0, 1])
    def test_interrupted_while_a_round_ends(self, undisturbed, tiny_network, rgb, tmp_path, workers):
        def at_step_6(step: int) -> None:
            if step == 6:
                raise KeyboardInterrupt

        how, work = settings(workers=workers), tmp_path / "work"
        self.interrupt(Classification(tiny_network(), rgb), work, tracker=Recorder(hear=at_step_6), settings=how)
        task, recorder = Classification(tiny_network(seed=9), rgb), Recorder()
        fitted = train(task, work, tracker=recorder, settings=how)
        assert list(recorder.heard) == [6, 8, 10]
        self.assert_same_end(undisturbed, fitted, task, work)

    def test_a_disk_that_fills_up_while_a_checkpoint_is_written(
        self, undisturbed, tiny_network, rgb, tmp_path, monkeypatch
    ):
        work = tmp_path / "work"

        def half(path: Path, content: memoryview) -> None:
            with path.open("wb") as stream:
                stream.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        def fill_up(step: int) -> None:
            if step == 6:
                monkeypatch.setattr(Path, "write_bytes", half)

        with pytest.raises(OSError, match="No space left"):
            train(Classification(tiny_network(), rgb), work, tracker=Recorder(hear=fill_up))
        monkeypatch.undo()
        task, recorder = Classification(tiny_network(seed=9), rgb), Recorder()
        fitted = train(task, work, tracker=recorder)
        assert list(recorder.heard) == [6, 8, 10]
        self.assert_same_end(undisturbed, fitted, task, work)

    def test_interrupted_within_a_round(self, undisturbed, tiny_network, rgb, tmp_path):
        clips, work = Clips(CLIPS, seed=0), tmp_path / "work"

        def in_the_fourth_round() -> None:
            if len(clips.drawn) == 3 * STEPS_A_ROUND * BATCH + 5:
                raise KeyboardInterrupt

        clips.before_reading = in_the_fourth_round
        self.interrupt(Classification(tiny_network(), rgb), work, clips=clips)
        task, recorder = Classification(tiny_network(seed=9), rgb), Recorder()
        fitted = train(task, work, tracker=recorder)
        assert list(recorder.heard) == [8, 10]
        self.assert_same_end(undisturbed, fitted, task, work)

    @pytest.mark.parametrize("stop", [4, 8])
    def test_rounds_that_were_not_the_best_are_not_done_again(self, tiny_network, rgb, tmp_path, stop):
        """The best round, the first one here, is remembered across the interruption."""

        def interrupt(step: int) -> None:
            if step == stop:
                raise KeyboardInterrupt

        val = Clips(6, seed=1, labels=contradicting)
        how = settings(optimiser={"learning_rate": 0.1})
        first, resumed = Recorder(hear=interrupt), Recorder()
        self.interrupt(Classification(tiny_network(), rgb), tmp_path, val=val, tracker=first, settings=how)
        assert min(first.heard, key=lambda step: first.heard[step]["val/loss"]) == 2
        fitted = train(Classification(tiny_network(seed=9), rgb), tmp_path, val=val, tracker=resumed, settings=how)
        assert list(resumed.heard) == list(range(stop, 11, 2))
        assert fitted.kept_step == 2
        assert fitted.metrics["val/loss"] == pytest.approx(first.heard[2]["val/loss"])

    def test_a_training_that_has_ended_early_is_finished(self, tiny_network, rgb, tmp_path):
        """The first round is the best here, and two that were not end the training."""
        how, val = settings(patience_rounds=2, optimiser={"learning_rate": 0.1}), Clips(6, seed=1, labels=contradicting)
        clips, recorder = Clips(CLIPS, seed=0), Recorder()
        ends = [
            train(Classification(tiny_network(), rgb), tmp_path, settings=how, val=val, clips=clips, tracker=recorder)
            for _ in range(2)
        ]
        assert list(recorder.heard) == [2, 4, 6]
        assert len(clips.drawn) == 3 * STEPS_A_ROUND * BATCH
        assert [end.kept_step for end in ends] == [2, 2]
        assert [end.metrics["stopped_after_steps"] for end in ends] == [6.0, 6.0]

    def test_an_average_of_weights_goes_on_too(self, tiny_network, rgb, tmp_path):
        def at_step_6(step: int) -> None:
            if step == 6:
                raise KeyboardInterrupt

        how, ends = settings(ema=0.9), []
        self.interrupt(
            Classification(tiny_network(), rgb), tmp_path / "work", tracker=Recorder(hear=at_step_6), settings=how
        )
        for work, seed in (("work", 9), ("undisturbed", 0)):
            task = Classification(tiny_network(seed=seed), rgb)
            ends.append((train(task, tmp_path / work, settings=how).metrics["val/loss"], weights(task.network)))
        assert ends[0][0] == ends[1][0]
        assert same(ends[0][1], ends[1][1])

    def test_a_finished_run_is_taken_as_it_is(self, undisturbed, tiny_network, rgb, tmp_path):
        clips, task = Clips(CLIPS, seed=0), Classification(tiny_network(seed=9), rgb)
        fitted = train(task, tmp_path / "undisturbed", clips=clips)
        assert clips.drawn == []
        self.assert_same_end(undisturbed, fitted, task, tmp_path / "undisturbed")


def test_a_loss_that_is_not_finite_is_an_error(task, tmp_path):
    torch.nn.init.constant_(task.network.conv.weight, float("nan"))
    with pytest.raises(KineflowError, match="the loss became nan at step 0") as caught:
        train(task, tmp_path)
    assert "learning_rate" in caught.value.remedy


class TestLossesReadTogether:
    """As on a GPU, which is not waited for at every step."""

    def test_curves_and_weights_are_those_of_a_training_that_reads_each(self, tiny_network, rgb, tmp_path):
        ends = []
        for every in (1, 3):
            task = Classification(tiny_network(), rgb)
            train(task, tmp_path / str(every), read_losses_every=every)
            ends.append((weights(task.network), (tmp_path / str(every) / "curves.csv").read_text()))
        assert same(ends[0][0], ends[1][0])
        assert ends[0][1] == ends[1][1]

    def test_the_step_is_named_and_nothing_is_kept_from_it_on(self, tiny_network, rgb, tmp_path):
        class Breaks(Classification):
            steps = 0

            def loss(self, batch):
                self.steps += 1
                broken = float("nan") if self.steps == 2 * STEPS_A_ROUND + 1 else 1.0
                return {name: value * broken for name, value in super().loss(batch).items()}

        task, recorder = Breaks(tiny_network(), rgb), Recorder()
        with pytest.raises(KineflowError, match=f"the loss became nan at step {2 * STEPS_A_ROUND}"):
            train(task, tmp_path, tracker=recorder, read_losses_every=32)
        assert task.steps == 3 * STEPS_A_ROUND
        assert list(recorder.heard) == [STEPS_A_ROUND, 2 * STEPS_A_ROUND]
        kept = load_checkpoint(tmp_path / "last.ckpt")["trainer"]
        assert kept["steps_done"] == 2 * STEPS_A_ROUND
        assert all(value.isfinite().all() for value in kept["task"].values())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_cannot_be_read_is_named_without_a_traceback(task, tmp_path, workers):
    def fail() -> None:
        raise KineflowError("no such video file", where="a.mp4", remedy="check the path")

    clips = Clips(CLIPS, seed=0)
    clips.before_reading = fail
    with pytest.raises(KineflowError) as caught:
        train(task, tmp_path, clips=clips, settings=settings(workers=workers))
    assert str(caught.value) == "a.mp4: no such video file\n  → check the path"


@pytest.mark.slow
def test_both_terms_are_tracked(tiny_network, rgb, flow, tmp_path):
    task = Distillation(
        tiny_network(),
        rgb,
        teachers=[Teacher(tiny_network(channels=2, seed=1), flow)],
        settings=DistillSettings(kd_weight=3.0),
    )
    recorder, teacher = Recorder(), weights(task.teachers[0].network)
    train(task, tmp_path, tracker=recorder)
    assert list(recorder.heard) == [2, 4, 6, 8, 10]
    figures = recorder.heard[2]
    assert set(figures) == {
        "train/loss", "train/cross_entropy", "train/distillation", "val/top1", "val/loss", "learning_rate",
    }  # fmt: skip
    assert figures["train/loss"] == pytest.approx(figures["train/cross_entropy"] + 3 * figures["train/distillation"])
    assert same(weights(task.teachers[0].network), teacher)


class TestSurroundings:
    def test_nothing_is_said_and_nothing_is_left_in_the_folder(self, task, tmp_path, monkeypatch, capfd, caplog):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        caplog.set_level(logging.INFO)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            train(task, tmp_path / "work")
            train(task, tmp_path / "work")  # finished: goes through the restoring of a checkpoint
        assert [str(warning.message) for warning in warned] == []
        assert {record.name for record in caplog.records} == {"kineflow.training.monitor"}
        assert capfd.readouterr() == ("", "")
        assert list((tmp_path / "here").iterdir()) == []
        assert {path.name for path in (tmp_path / "work").iterdir()} == {"kept.ckpt", "last.ckpt", "curves.csv"}

    def test_the_process_is_left_as_it_was(self, task, tmp_path):
        def interrupt(step: int) -> None:
            raise KeyboardInterrupt

        def on_interrupt(*_: object) -> None: ...

        before = signal.signal(signal.SIGINT, on_interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                train(task, tmp_path, tracker=Recorder(hear=interrupt))
            assert signal.getsignal(signal.SIGINT) is on_interrupt
        finally:
            signal.signal(signal.SIGINT, before)
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.utils.deterministic.fill_uninitialized_memory

    @pytest.mark.parametrize("lost", ["kept.ckpt", "curves.csv", "last.ckpt"])
    @pytest.mark.parametrize("how", ["removed", "emptied"])
    def test_work_of_which_a_part_is_missing_is_as_good_as_none(self, task, tiny_network, rgb, tmp_path, lost, how):
        whole = train(task, tmp_path)
        (tmp_path / lost).unlink()
        if how == "emptied":
            (tmp_path / lost).touch()
        again = Classification(tiny_network(), rgb)
        assert train(again, tmp_path).kept_step == whole.kept_step
        assert all(torch.equal(a, b) for a, b in zip(task.parameters(), again.parameters(), strict=True))

    def test_a_request_to_end_is_an_interrupt(self, task, tmp_path):
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            train(task, tmp_path, tracker=Recorder(hear=lambda step: signal.raise_signal(signal.SIGTERM)))
        assert signal.getsignal(signal.SIGTERM) is before

    def test_progress_is_said_with_rate_and_time_left(self, task, tmp_path, caplog):
        with caplog.at_level(logging.INFO, logger="kineflow"):
            train(task, tmp_path)
        assert len(caplog.messages) == ROUNDS
        assert caplog.messages[1].startswith("step 4/10, ")
        assert "val/top1" in caplog.messages[1]
