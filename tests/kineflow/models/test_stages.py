from __future__ import annotations

import pytest
import torch

from kineflow.models.registry import create_model
from kineflow.models.s3d import S3D
from kineflow.models.stages import STAGES, channels_of_stage, features_at, features_at_each, features_from, stages_of
from kineflow.storage.errors import KineflowError

# Of a clip of 64×224×224, as the S3D paper and D3D's table have them: channels @ time × height × width.
FULL_SIZE = {
    "Conv1a": (64, 32, 112, 112),
    "MaxPool2a": (64, 32, 56, 56),
    "Conv2b": (64, 32, 56, 56),
    "Conv2c": (192, 32, 56, 56),
    "MaxPool3a": (192, 32, 28, 28),
    "Mixed3b": (256, 32, 28, 28),
    "Mixed3c": (480, 32, 28, 28),
    "MaxPool4a": (480, 16, 14, 14),
    "Mixed4b": (512, 16, 14, 14),
    "Mixed4c": (512, 16, 14, 14),
    "Mixed4d": (512, 16, 14, 14),
    "Mixed4e": (528, 16, 14, 14),
    "Mixed4f": (832, 16, 14, 14),
    "MaxPool5a": (832, 8, 7, 7),
    "Mixed5b": (832, 8, 7, 7),
    "Mixed5c": (1024, 8, 7, 7),
}


def tiny(name: str = "s3d_g", **keywords: object) -> S3D:
    torch.manual_seed(0)
    network = create_model(name, num_classes=3, width=0.125, **keywords)
    assert isinstance(network, S3D)
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["s3d", "s3d_g"])
def test_every_stage_at_full_size(name: str) -> None:
    with torch.device("meta"):
        network, clip = create_model(name, num_classes=400).eval(), torch.empty(1, 3, 64, 224, 224)
        shapes = {
            stage: tuple(features_at(network, clip, stage).shape[1:]) for stage in ("Conv2c", "Mixed3c", "Mixed5c")
        }
        features = clip
        for stage, layer in zip(STAGES, network.features, strict=True):
            features = layer(features)
            assert tuple(features.shape[1:]) == FULL_SIZE[stage], stage
    assert shapes == {stage: FULL_SIZE[stage] for stage in shapes}
    assert {stage: channels_of_stage(network, stage) for stage in STAGES} == {
        name: s[0] for name, s in FULL_SIZE.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_up_to_a_stage_and_from_there_is_the_whole_network(stage: str) -> None:
    network, clips = tiny(), torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        features = features_at(network, clips, stage)
        assert features.shape[1] == channels_of_stage(network, stage)
        torch.testing.assert_close(features_from(network, features, stage), network.forward_features(clips))


def test_a_network_that_ends_earlier_has_fewer_stages() -> None:
    network = tiny(last_stage="Mixed4c")
    assert stages_of(network) == STAGES[:10]
    with pytest.raises(KineflowError, match="no stage 'Mixed4d'"):
        features_at(network, torch.zeros(1, 3, 8, 32, 32), "Mixed4d")


def test_other_networks_have_no_stages() -> None:
    with pytest.raises(KineflowError, match="Linear has no named stages"):
        stages_of(torch.nn.Linear(2, 2))


def test_several_stages_by_one_pass() -> None:
    network, clips = tiny(), torch.randn(2, 3, 8, 32, 32)
    wanted = ["Mixed4b", "Conv1a", "Mixed3b"]
    seen: list[object] = []
    network.features[0].register_forward_hook(lambda *_: seen.append(None))
    with torch.no_grad():
        found = features_at_each(network, clips, wanted)
        assert len(seen) == 1
        assert list(found) == ["Conv1a", "Mixed3b", "Mixed4b"]
        for stage, features in found.items():
            torch.testing.assert_close(features, features_at(network, clips, stage), rtol=0, atol=0)
    with pytest.raises(KineflowError, match="no stage 'Mixed6'"):
        features_at_each(network, clips, ["Mixed6"])
