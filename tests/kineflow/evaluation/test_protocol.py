"""The test protocol against the same computed window by window, on small videos made here."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from kineflow.evaluation import view_stream
from kineflow.evaluation.protocol import score_clips
from kineflow.models.card import ModelCard
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_file import read_flow, write_flow
from kineflow.sets.flow_set import FlowEntry, FlowSet
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec, uniform_clips
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.storage.errors import KineflowError
from kineflow.video.decode import read_frames
from kineflow.video.encode import write_video
from tests.centre_crop import centre_crop

CLASSES = ("jump", "run", "sit")
LENGTHS = {"a": 12, "b": 20, "c": 5, "d": 9}
SIDE = 32


class Probe(nn.Module):
    """Logits that depend on every frame of the window, its order, and (in training mode) on chance."""

    def __init__(self, channels):
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.weights = nn.Parameter(torch.randn(3, channels, 4, generator=generator))
        self.dropout = nn.Dropout(0.5)
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        return self.dropout(torch.einsum("bct,kct->bk", x.mean(dim=(3, 4)), self.weights))


def card(modality="rgb", classes=CLASSES):
    channels = 3 if modality == "rgb" else 2
    preprocessing = Preprocessing(modality, 4, 2, 24, 20, (127.5,) * channels, (64.0,) * channels)
    return ModelCard("probe", "probe", {}, classes, preprocessing, {}, {})


def clip(name, **changes):
    fields = {
        "clip_id": name, "path": f"{name}.mp4", "label": CLASSES[len(name) % 2], "group": name, "split": Split.TEST,
        "frames": LENGTHS.get(name, 9), "fps": 25.0, "width": SIDE, "height": SIDE, "rotation": 0, "sha256": name,
        "status": Status.OK, "reason": "", "source": name,
    }  # fmt: skip
    return Clip(**fields | changes)


@pytest.fixture(scope="module")
def clip_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("media")
    rng = np.random.default_rng(3)
    for name, length in LENGTHS.items():
        levels = rng.integers(0, 255, (length, 1, 1, 3), dtype=np.uint8)
        write_video(root / f"{name}.mp4", np.broadcast_to(levels, (length, SIDE, SIDE, 3)).copy(), fps=25)
    clips = (
        clip("a", label="sit"),
        clip("b"),
        clip("c"),
        clip("d", split=Split.VAL),
        clip("e", status=Status.TRUNCATED),
    )
    return ClipSet(CLASSES, clips, str(root))


@pytest.fixture(scope="module")
def flow_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    rng = np.random.default_rng(4)
    entries = {}
    for name, length in LENGTHS.items():
        levels = np.broadcast_to(
            rng.integers(0, 255, (length - 1, 1, 1, 2), dtype=np.uint8), (length - 1, SIDE, SIDE, 2)
        )
        write_flow(folder / f"{name}.mp4", levels.copy())
        entries[name] = FlowEntry(name, f"{name}.mp4", length - 1, SIDE, SIDE, Status.OK, "")
    return FlowSet(20.0, entries, str(folder))


def score(clip_set, flow_set=None, *, modality="rgb", split=Split.TEST, clips_per_video=3, batch_size=4, **options):
    network = options.pop("network", None) or Probe(3 if modality == "rgb" else 2)
    wanted = options.pop("card", None) or card(modality)
    return score_clips(
        network, wanted, clip_set, flow_set, split, clips_per_video=clips_per_video, batch_size=batch_size, **options
    )


def by_hand(name, read, modality, windows=3):
    network, wanted = Probe(3 if modality == "rgb" else 2).eval(), card(modality).preprocessing
    logits = []
    for indices in uniform_clips(LENGTHS[name] - 1, ClipSpec(4, 2), windows):
        with torch.inference_mode():
            logits.append(network(centre_crop(read(indices.tolist()), wanted)[None]).softmax(dim=1)[0])
    return torch.stack(logits).mean(dim=0).numpy()


@pytest.mark.parametrize("windows", [1, 3])
def test_rgb_scores_are_the_mean_softmax_over_windows(clip_set, windows):
    scores = score(clip_set, clips_per_video=windows)
    for place, name in enumerate("abc"):
        path = clip_set.locate(clip_set.clips[place])
        expected = by_hand(name, lambda i, p=path: read_frames(p, i), "rgb", windows)
        assert np.allclose(scores.probabilities()[place], expected, atol=1e-5)


def test_flow_scores_are_the_mean_softmax_over_windows(clip_set, flow_set):
    scores = score(clip_set, flow_set, modality="flow")
    for place, name in enumerate("abc"):
        path = flow_set.locate(name)
        expected = by_hand(name, lambda i, p=path: read_flow(p, i), "flow")
        assert np.allclose(scores.probabilities()[place], expected, atol=1e-5)


def test_scores_are_of_the_usable_clips_of_the_split_in_their_order(clip_set):
    scores = score(clip_set)
    assert scores.clip_ids == ("a", "b", "c")
    assert (scores.model, scores.split, scores.classes) == ("probe", "test", CLASSES)
    assert scores.labels.tolist() == [2, 1, 1]
    assert score(clip_set, split=Split.VAL).clip_ids == ("d",)


def test_stored_scores_are_logarithms_of_probabilities(clip_set):
    assert np.allclose(np.exp(score(clip_set).logits).sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 64}, {"batch_size": 2}, {"workers": 1}])
def test_batches_and_workers_change_nothing(clip_set, options):
    assert np.allclose(score(clip_set, **options).logits, score(clip_set).logits, atol=1e-5)


@pytest.mark.parametrize("options", [{"crops": 10}, {"crops": "whole", "clips_per_video": 5}], ids=str)
def test_parts_change_nothing(clip_set, options, monkeypatch):
    whole = score(clip_set, **options).logits
    monkeypatch.setattr(view_stream, "PART_BYTES", 6 * 32 * 32 * 3)  # of six frames
    assert np.allclose(score(clip_set, **options).logits, whole, atol=1e-6)


def test_no_batch_is_larger_than_asked_and_videos_share_one(clip_set):
    network = Probe(3)
    score(clip_set, network=network, clips_per_video=3, batch_size=5)
    assert network.batches == [5, 2]  # of the short video all windows are one
    network = Probe(3)
    score(clip_set, network=network, clips_per_video=3, batch_size=2)
    assert max(network.batches) == 2


def test_the_network_answers_in_evaluation_mode(clip_set):
    network = Probe(3).train()
    assert np.array_equal(score(clip_set, network=network).logits, score(clip_set, network=network).logits)


def test_the_last_frame_is_left_out_because_it_has_no_flow(clip_set, tmp_path):
    frames = np.full((5, SIDE, SIDE, 3), 128, np.uint8)
    write_video(tmp_path / "c.mp4", frames, fps=25)
    frames[-1] = 255
    write_video(tmp_path / "last.mp4", frames, fps=25)
    clips = (clip("c"), clip("last", frames=5))
    logits = score(dataclasses.replace(clip_set, clips=clips, media_root=str(tmp_path))).logits
    assert np.allclose(logits[0], logits[1], atol=0.05)


def test_labels_are_matched_by_name(clip_set):
    scores = score(clip_set, card=card(classes=("sit", "run", "jump")))
    assert scores.labels.tolist() == [0, 1, 1]


def test_an_empty_split_is_an_error(clip_set):
    with pytest.raises(KineflowError, match="no usable clip in the split 'train'"):
        score(clip_set, split=Split.TRAIN)


def test_a_label_that_the_model_does_not_know_is_an_error(clip_set):
    with pytest.raises(KineflowError, match=r"1 labels of the clips are no classes of the model.*'sit'"):
        score(clip_set, card=card(classes=("jump", "run", "walk")))


def test_a_flow_model_without_flow_is_an_error(clip_set, flow_set):
    with pytest.raises(KineflowError, match="no flow set was given"):
        score(clip_set, modality="flow")
    failed = dataclasses.replace(flow_set.entries["b"], status=Status.UNREADABLE)
    without = {name: entry for name, entry in flow_set.entries.items() if name != "b"}
    for entries in (without, without | {"b": failed}):
        with pytest.raises(KineflowError, match="no flow for 1 of 3 clips, the first of them 'b'"):
            score(clip_set, dataclasses.replace(flow_set, entries=entries), modality="flow")


class TestSnippets:
    """Networks of snippets: their scores are averaged before the softmax, over crops and snippets."""

    @staticmethod
    def snippets(modality="rgb"):
        wanted = card(modality)
        return dataclasses.replace(wanted, preprocessing=dataclasses.replace(wanted.preprocessing, segments=3))

    def test_scores_are_means_before_the_softmax(self, clip_set):
        scores = score(clip_set, card=self.snippets())
        wanted, network = card().preprocessing, Probe(3).eval()
        path = clip_set.locate(clip_set.clips[0])
        logits = []
        for indices in uniform_clips(LENGTHS["a"] - 1, ClipSpec(4, 2), 3):
            with torch.inference_mode():
                logits.append(network(centre_crop(read_frames(path, indices.tolist()), wanted)[None])[0])
        assert np.allclose(scores.logits[0], torch.stack(logits).mean(dim=0), atol=1e-5)
        assert not np.allclose(scores.probabilities()[0], score(clip_set).probabilities()[0], atol=1e-3)

    @pytest.mark.parametrize(("crops", "seen"), [(1, 5), (2, 10), (5, 25), (10, 50), ("whole", 10)])
    def test_every_crop_of_every_window_is_seen_once(self, clip_set, crops, seen):
        network = Probe(3)
        score(clip_set, card=self.snippets(), network=network, crops=crops, clips_per_video=2, batch_size=7)
        assert sum(network.batches) == seen
        assert max(network.batches) <= 7

    def test_crops_change_nothing_where_all_look_alike(self, clip_set):
        for wanted in (self.snippets(), card()):  # frames of one colour
            one, ten = (score(clip_set, card=wanted, crops=crops).logits for crops in (1, 10))
            assert np.allclose(one, ten, atol=0.02)  # of the codec

    def test_warped_flow_and_differences_are_read_from_their_sources(self, clip_set, flow_set):
        warped = score(clip_set, flow_set, card=self.snippets("warped_flow"), network=Probe(2))
        assert np.allclose(
            warped.logits, score(clip_set, flow_set, card=self.snippets("flow"), network=Probe(2)).logits
        )
        wanted = self.snippets()
        preprocessing = dataclasses.replace(wanted.preprocessing, modality="rgb_difference")
        assert score(clip_set, card=dataclasses.replace(wanted, preprocessing=preprocessing)).logits.shape == (3, 3)
        with pytest.raises(KineflowError, match="takes flow, and no flow set"):
            score(clip_set, card=self.snippets("warped_flow"), network=Probe(2))
