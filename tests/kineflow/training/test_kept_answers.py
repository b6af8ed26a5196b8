from dataclasses import replace

import pytest
import torch

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.data.dataset import ClipDataset, Geometry, Onlooker
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.sampling import ClipSpec
from kineflow.training import kept_answers
from kineflow.training.distillation import Distillation, Teacher
from kineflow.training.kept_answers import keep_answers
from kineflow.training.settings import DistillSettings, RunSettings
from kineflow.training.trainer import Trainer

STEPS = 20


@pytest.fixture
def clips(tiny_data):
    """Clips that are squashed and no longer than a window, so that there is nothing to draw."""
    clip_set = ClipSet.load(tiny_data.clips)
    labelled = [clip for clip in clip_set.clips if clip.label]
    longest = max(clip.frames for clip in labelled)
    geometry = Geometry(ClipSpec(longest), short_side=8, crop=8, fit="squash")
    return ClipDataset(
        clip_set, labelled, modalities=("rgb", "flow"), geometry=geometry, flow_set=FlowSet.load(tiny_data.flow)
    )


@pytest.fixture(params=["logits", "features"])
def trainer(request, tiny_network, rgb, flow):
    settings = DistillSettings(layer=request.param)
    teacher = tiny_network(channels=2, seed=1)
    task = Distillation(tiny_network(), rgb, teachers=[Teacher(teacher, flow)], settings=settings)
    return Trainer(task, RunSettings(**RUN), seed=0, device=torch.device("cpu"))


RUN = {"steps": STEPS, "validate_every_steps": STEPS, "batch_size": 2}


def kept(trainer, clips, **changes):
    sampler = BatchSampler([Pool(tuple(range(len(clips))), 2)], steps=STEPS, seed=0)
    settings = RunSettings(**RUN | changes)
    return keep_answers(trainer, clips, sampler, settings, steps=settings.steps)


def collated(clips, keys):
    return torch.utils.data.default_collate([clips[key] for key in keys])


def test_the_loss_is_the_same_and_flow_is_looked_at_no_more(trainer, clips):
    answered = kept(trainer, clips)
    trainer.task.eval()
    for key in next(iter(BatchSampler([Pool(tuple(range(len(clips))), 2)], steps=1, seed=3))):
        assert "flow" not in answered[key]
        for name, loss in trainer.task.loss(collated(clips, [key])).items():
            torch.testing.assert_close(trainer.task.loss(collated(answered, [key]))[name], loss, msg=name)


@pytest.fixture
def taught_by_two(tiny_network, rgb, flow):
    """By a flow teacher, and by one that sees larger frames of every second moment."""
    large = replace(rgb, frames=6, stride_frames=2, crop=12, short_side=12)
    teachers = [
        Teacher(tiny_network(channels=2, seed=1), flow, "flow"),
        Teacher(tiny_network(seed=2, features=9), large, "large", key="large"),
    ]
    terms = [{"teacher": "flow"}, {"teacher": "large", "layer": "features"}, {"teacher": "large", "loss": "kl"}]
    task = Distillation(tiny_network(), rgb, teachers=teachers, settings=DistillSettings(terms=terms))
    return Trainer(task, RunSettings(**RUN), seed=0, device=torch.device("cpu"))


@pytest.fixture
def clips_for_two(clips):
    own = Geometry(ClipSpec(6, 2), short_side=12, crop=12, fit="squash")
    return ClipDataset(
        clips.clip_set,
        clips.clips,
        modalities=("rgb", "flow"),
        geometry=clips.geometry,
        flow_set=clips.flow_set,
        onlookers={"large": Onlooker("rgb", own)},
    )


def test_several_teachers_are_asked_once_each_in_its_own_geometry(taught_by_two, clips_for_two):
    answered = kept(taught_by_two, clips_for_two)
    task = taught_by_two.task.eval()
    assert answered[0].keys() == {"label", "rgb", "taught_0_logits", "taught_1_features", "taught_1_logits"}
    for key in range(len(clips_for_two)):
        asked, known = (task.loss(collated(each, [key])) for each in (clips_for_two, answered))
        for name, loss in asked.items():
            torch.testing.assert_close(known[name], loss, msg=name)


def test_answers_that_would_fill_the_memory_are_asked_for_again(trainer, clips, monkeypatch):
    monkeypatch.setattr(kept_answers, "_MOST_BYTES", 4)
    assert kept(trainer, clips) is clips


@pytest.mark.parametrize("change", ["flip", "shorter", "jitter", "crop"])
def test_where_something_is_drawn_the_teacher_sees_what_the_student_sees(trainer, clips, change):
    geometry = clips.geometry
    match change:
        case "flip":
            clips.may_flip = True
        case "shorter":
            clips.geometry = replace(geometry, spec=ClipSpec(geometry.spec.frames - 2))
        case "jitter":
            clips.geometry = replace(geometry, stride_frames_max=2)
        case "crop":
            clips.geometry = replace(geometry, fit="crop", crop=6)
    assert kept(trainer, clips) is clips


def test_a_batch_of_several_processes_is_counted_once(trainer, clips, monkeypatch):
    monkeypatch.setattr(kept_answers.processes, "world_size", lambda: 2)
    steps = len(clips) // 2
    assert kept(trainer, clips, steps=steps, validate_every_steps=steps) is clips


def test_a_training_of_fewer_samples_than_clips_asks_about_those_alone(trainer, clips):
    assert kept(trainer, clips, steps=1, validate_every_steps=1) is clips
