import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.card import load_card
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.output_files import CURVES_FILE
from kineflow.storage.errors import KineflowError
from kineflow.training.jobs import Trained
from kineflow.training.loop import Fitted
from kineflow.training.outputs import load_data, save_trained, training_work
from kineflow.training.settings import TrainSettings


@pytest.fixture
def inputs(tiny_data, tiny_initial, tmp_path) -> dict[str, Path]:
    """Copies that a test may change; the videos stay where they are."""
    for folder in (tiny_data.clips, tiny_data.flow):
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("media"))
    shutil.copytree(tiny_initial["rgb"], tmp_path / "initial")
    return {"clips": tmp_path / tiny_data.clips.name, "flow": tmp_path / tiny_data.flow.name,
            "initial": tmp_path / "initial"}  # fmt: skip


def interrupted_work(inputs: dict[str, Path], *settings: object, flow: bool = True) -> Path:
    """The work folder of a run that is interrupted after leaving something in it."""
    folder = None
    try:
        with training_work(
            inputs["initial"].parent / "model", inputs["clips"], inputs["flow"] if flow else None, [inputs["initial"]],
            *settings,
        ) as folder:  # fmt: skip
            (folder / "left").touch()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return folder


class TestTrainingWork:
    def test_is_found_again(self, inputs):
        first = interrupted_work(inputs, TrainSettings(), 3)
        assert (first / "left").exists()
        assert interrupted_work(inputs, TrainSettings(), 3) == first

    def test_is_discarded_at_the_end(self, inputs, tmp_path):
        with training_work(tmp_path / "model", inputs["clips"], None, [inputs["initial"]]) as folder:
            assert folder.is_dir()
        assert not folder.parent.exists()

    def change_clips(self, inputs: dict[str, Path]) -> None:
        clip_set = ClipSet.load(inputs["clips"])
        dataclasses.replace(clip_set, clips=clip_set.clips[1:]).save(inputs["clips"])

    def change_classes(self, inputs: dict[str, Path]) -> None:
        clip_set = ClipSet.load(inputs["clips"])
        dataclasses.replace(clip_set, classes=clip_set.classes[::-1]).save(inputs["clips"])

    def change_flow(self, inputs: dict[str, Path]) -> None:
        dataclasses.replace(FlowSet.load(inputs["flow"]), bound_px=10.0).save(inputs["flow"])

    def change_weights(self, inputs: dict[str, Path]) -> None:
        network, card = load_bundle(inputs["initial"])
        with torch.no_grad():
            network.stem.weight += 1
        save_bundle(inputs["initial"], network, card)

    def change_card(self, inputs: dict[str, Path]) -> None:
        network, card = load_bundle(inputs["initial"])
        hyperparameters = {**card.hyperparameters, "dropout": 0.5}
        save_bundle(inputs["initial"], network, dataclasses.replace(card, hyperparameters=hyperparameters))

    @pytest.mark.slow
    @pytest.mark.parametrize("what", ["clips", "classes", "flow", "weights", "card"])
    def test_other_inputs_are_other_work(self, inputs, what):
        first = interrupted_work(inputs, TrainSettings())
        getattr(self, f"change_{what}")(inputs)
        assert interrupted_work(inputs, TrainSettings()) != first

    @pytest.mark.parametrize("other", [(TrainSettings(steps=500), 3), (TrainSettings(), 4), (TrainSettings(),)])
    def test_other_settings_are_other_work(self, inputs, other):
        assert interrupted_work(inputs, TrainSettings(), 3) != interrupted_work(inputs, *other)

    def test_another_number_of_processes_goes_on_with_the_same_work(self, inputs):
        alone, spread = TrainSettings(batch_size=8), TrainSettings(batch_size=8, nodes=2, devices=2)
        assert interrupted_work(inputs, alone, 3) == interrupted_work(inputs, spread, 3)

    def test_only_the_first_process_discards_the_work(self, inputs, tmp_path, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        for number, kept in (("1", True), ("0", False)):
            monkeypatch.setenv("RANK", number)
            with training_work(tmp_path / "model", inputs["clips"], None, []) as work:
                assert work.is_dir()
            assert work.exists() == kept

    def test_flow_may_be_absent(self, inputs):
        assert interrupted_work(inputs) != interrupted_work(inputs, flow=False)

    def test_a_bundle_that_is_missing(self, inputs, tmp_path):
        with pytest.raises(KineflowError, match="not a model's folder"), training_work(
            tmp_path / "model", inputs["clips"], None, [tmp_path]
        ):  # fmt: skip
            pass


class TestSaveTrained:
    @pytest.fixture
    def trained(self, tiny_initial) -> Trained:
        network, card = load_bundle(tiny_initial["rgb"])
        return Trained(network, dataclasses.replace(card, name="fresh"), Fitted({}, 1, "last"))

    @pytest.mark.slow
    def test_bundle_and_curves(self, trained, tiny_data, tmp_path):
        (tmp_path / CURVES_FILE).write_text("step,name,value\n")
        save_trained(trained, ClipSet.load(tiny_data.clips), tmp_path / "model", tmp_path)
        assert {path.name for path in (tmp_path / "model").iterdir()} == {
            "model.safetensors", "model.json", "curves.csv",
        }  # fmt: skip
        assert load_bundle(tmp_path / "model")[1].name == "fresh"

    def test_only_the_first_process_writes(self, trained, tiny_data, tmp_path, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")
        save_trained(trained, ClipSet.load(tiny_data.clips), tmp_path / "model", tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_replaces_an_older_model_only_when_it_is_whole(self, trained, tiny_data, tiny_initial, tmp_path):
        shutil.copytree(tiny_initial["rgb"], tmp_path / "model")
        with pytest.raises(FileNotFoundError):
            save_trained(trained, ClipSet.load(tiny_data.clips), tmp_path / "model", tmp_path)  # there are no curves
        assert load_card(tmp_path / "model").name == "initial-rgb"
        assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_data_need_flow_only_where_it_is_named(tiny_data):
    assert load_data(tiny_data.clips, None).flow_set is None
    data = load_data(tiny_data.clips, tiny_data.flow)
    assert data.flow_set.entries.keys() == {clip.clip_id for clip in data.clip_set.clips}


def test_a_folder_that_is_no_flow_set(tiny_data, tmp_path):
    with pytest.raises(KineflowError) as caught:
        load_data(tiny_data.clips, tmp_path)
    assert str(tmp_path) in str(caught.value)
