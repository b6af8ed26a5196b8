import logging
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from kineflow.data.batch_sampler import SampleRef
from kineflow.data.collate import collate
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.data.device_decoding import UnfitForDeviceError
from kineflow.sets.clip_set import ClipSet
from kineflow.spec.sampling import ClipSpec
from kineflow.storage.errors import KineflowError
from kineflow.training import decoded_batches
from kineflow.training.decoded_batches import DecodedBatches, decoding_here

CPU = torch.device("cpu")
BATCHES = [[SampleRef(clip, (0, number)) for clip in (2, 0, 1)] for number in range(4)]


@pytest.fixture
def clip_set(tiny_data) -> ClipSet:
    return ClipSet.load(tiny_data.clips)


@pytest.fixture(params=["decoded on the device", "decoded by the reader"])
def no_device(request, monkeypatch) -> bool:
    """Whether the device can decode nothing; where torchcodec is not there it cannot anyway."""
    is_reader = request.param == "decoded by the reader"
    if is_reader:
        monkeypatch.setattr(decoded_batches, "decode_on", refuse)
    elif reason := decoded_batches.why_no_decoder():
        pytest.skip(f"torchcodec: {reason}")
    return is_reader


def refuse(*_) -> None:
    raise UnfitForDeviceError("it is too small")


def loaded(clip_set: ClipSet, *, workers: int = 0, **changes) -> DataLoader:
    clips = ClipDataset(
        clip_set,
        clip_set.clips,
        modalities=("rgb",),
        geometry=Geometry(ClipSpec(3), short_side=16, crop=12),
        may_flip=True,
        **changes,
    )
    return DataLoader(clips, batch_sampler=BATCHES, num_workers=workers, collate_fn=collate)


def test_batches_are_those_that_the_loader_decodes(clip_set, no_device, caplog):
    expected = list(loaded(clip_set))
    batches = DecodedBatches(loaded(clip_set, workers=1, decodes_rgb=False), CPU)
    for _ in range(2):
        found = list(batches)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one.keys() == other.keys()
            assert one["rgb"].stride() == other["rgb"].stride()
            assert torch.equal(one["rgb"], other["rgb"])
            assert torch.equal(one["label"], other["label"])
    assert caplog.text.count("decoded on the CPU") == no_device


def test_a_clip_that_nothing_can_decode_ends_it(clip_set, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded_batches, "decode_on", refuse)
    broken = replace(clip_set, media_root=str(tmp_path))
    for clip in clip_set.clips[:3]:
        (tmp_path / clip.path).write_bytes(b"no video")
    with pytest.raises(KineflowError, match="not readable as a video"):
        list(DecodedBatches(loaded(broken, decodes_rgb=False), CPU))


def test_without_a_gpu_clips_are_decoded_as_ever(caplog):
    with caplog.at_level(logging.WARNING):
        assert decoding_here("cuda", CPU) == "cpu"
    assert "there is no GPU" in caplog.text
    caplog.clear()
    assert decoding_here("cpu", CPU) == "cpu"
    assert not caplog.text
