from __future__ import annotations

import pytest
import torch

from kineflow.storage.errors import KineflowError
from kineflow.training.semi_supervised.perturbation import Perturbation, cut_out, zoomed
from kineflow.training.semi_supervised.settings import PerturbationSettings

OFF = {"colour_jitter": 0.0, "cutout": 0.0, "zoom": 0.0}


def clips(count: int = 2, size: int = 8) -> torch.Tensor:
    return torch.randint(256, (count, 3, 4, size, size), generator=torch.Generator().manual_seed(0)).float()


def test_a_zoomed_clip_is_the_square_enlarged_alike_in_all_frames() -> None:
    # A quarter of the frame at the right and at the top: pixels of a half-sized square, doubled, whose middle half of
    # bilinear samples lies between two of them.
    seen = zoomed(clips(), torch.full((2, 1), 0.5), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    square = clips()[..., :4, 4:]
    expected = torch.nn.functional.interpolate(square.flatten(1, 2), scale_factor=2, mode="bilinear")
    inner = seen.flatten(1, 2)[..., 1:-1, 1:-1]  # at the edge the enlarged frame sees beyond the square
    torch.testing.assert_close(inner, expected[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-2)
    whole = zoomed(clips(), torch.ones(2, 1), torch.rand(2, 2))
    torch.testing.assert_close(whole, clips(), rtol=1e-4, atol=1e-2)


def test_what_is_cut_out_is_grey_in_every_frame_and_nothing_else_is() -> None:
    seen = cut_out(clips(), torch.tensor([[0.5], [0.25]]), torch.tensor([[0.25, 0.5], [1.0, 0.0]]))
    hidden = torch.zeros(2, 8, 8, dtype=torch.bool)
    hidden[0, 2:6, 0:4] = True  # down around the middle, across at the left
    hidden[1, 0:1, 7:8] = True  # cut off by the corner
    where = hidden[:, None, None].expand_as(seen)
    assert (seen[where] == 127.5).all()
    assert torch.equal(seen[~where], clips()[~where])


def test_each_clip_is_changed_in_its_own_way_and_the_seed_decides() -> None:
    alike = clips(1).expand(3, -1, -1, -1, -1)
    for name in OFF:
        perturb = Perturbation(PerturbationSettings(**{**OFF, name: 0.5}), "rgb")
        torch.manual_seed(5)
        changed = perturb(alike.byte())
        torch.manual_seed(5)
        assert torch.equal(changed, perturb(alike.byte()))
        assert not torch.equal(changed[0], changed[1])
        assert changed.min() >= 0
        assert changed.max() <= 255
    assert torch.equal(Perturbation(PerturbationSettings(**OFF), "rgb")(alike), alike)


def test_flow_is_neither_coloured_nor_zoomed() -> None:
    Perturbation(PerturbationSettings(**{**OFF, "cutout": 0.5}), "flow")
    for name in ("colour_jitter", "zoom"):
        with pytest.raises(KineflowError, match="are for RGB clips, and the network sees flow"):
            Perturbation(PerturbationSettings(**{**OFF, name: 0.5}), "flow")
