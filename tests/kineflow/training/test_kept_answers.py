from dataclasses import replace

import pytest
import torch

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.sampling import ClipSpec
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
    return keep_answers(trainer, clips, sampler, RunSettings(**RUN | changes))


def collated(clips, keys):
    return torch.utils.data.default_collate([clips[key] for key in keys])


def test_the_loss_is_the_same_and_flow_is_looked_at_no_more(trainer, clips):
    answered = kept(trainer, clips)
    trainer.task.eval()
    for key in next(iter(BatchSampler([Pool(tuple(range(len(clips))), 2)], steps=1, seed=3))):
        assert "flow" not in answered[key]
        for name, loss in trainer.task.loss(collated(clips, [key])).items():
            torch.testing.assert_close(trainer.task.loss(collated(answered, [key]))[name], loss, msg=name)


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


def test_a_training_of_fewer_samples_than_clips_asks_about_those_alone(trainer, clips):
    assert kept(trainer, clips, steps=1, validate_every_steps=1) is clips
