import torch
from torch.utils.data import default_collate

from kineflow.data.collate import collate
from kineflow.data.transforms import to_tensor


def test_frames_stay_channels_last_and_all_is_as_usual() -> None:
    random = torch.Generator().manual_seed(0)
    samples = [
        {
            "label": torch.tensor(place),
            "rgb": to_tensor(torch.randint(255, (4, 6, 6, 3), generator=random, dtype=torch.uint8).numpy()),
            "features": torch.rand(5, 8, 2, 2, generator=random),
            "taught": torch.rand(7, generator=random),
        }
        for place in range(3)
    ]
    batch, expected = collate(samples), default_collate(samples)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert batch["rgb"].is_contiguous(memory_format=torch.channels_last_3d)
    assert batch["features"].is_contiguous()
