"""What a tiny video becomes, as it was when the versions of the formats were set (:mod:`kineflow.spec.formats`).

Media are found again by parameters and format versions, never by the code. So a change of the code that changes one of
these results must raise its version, and enter the new results: ``python tests/kineflow/sets/test_known_results.py``
writes the table. The fused solver's flow is the same to the bit on every CPU that fuses multiplication and addition.
Else CPUs may differ in the last bit of what a scaler and a solver give (the scaler's plain C, without any SIMD, by 0.9
in colour, by nothing in grey); the bounds are below what the smallest change of a constant does (``crf`` 19 for 18:
2.9; one iteration of ten fewer: 0.8; ``tau`` 0.24 for 0.25: 0.4).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from kineflow.data.ingestion import stored_key
from kineflow.flow.extraction.engine import extract_set
from kineflow.flow.extraction.settings import ExtractSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.feature_set import FeatureSource, read_features
from kineflow.sets.flow_file import read_flow
from kineflow.spec.formats import CLIP_FORMAT, FEATURE_FORMAT, FLOW_FORMAT, INDEX_FORMAT
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.split import Split
from kineflow.spec.status import Status
from kineflow.spec.tvl1 import PRESETS, TVL1Params
from kineflow.training.feature_extraction import ClipsAndFlow, extract
from kineflow.video.decode import iter_luma, read_frames
from kineflow.video.encode import write_video
from kineflow.video.index import index_video
from kineflow.video.store import Part, StoredForm, store_video

TABLE = Path(__file__).with_name("known_results.json")
FRAMES, SIZE = 6, (48, 64)
FORM = StoredForm(short_side=32)
# As many iterations on every CPU: no rule stops them.
TVL1 = TVL1Params(epsilon=0.0, scales=3, warps=3, outer_iterations=2, inner_iterations=10, gamma=0.01)


class _Eye(nn.Module):
    """A backbone without weights: what it sees, coarsely."""

    def forward_features(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 4)


def planes(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Y, U, V uint8 [T, H, W, 3] of a pattern that moves right and down, in whole numbers only."""
    t, y, x = np.mgrid[0:FRAMES, 0 : size[0], 0 : size[1]]
    right, down = (x - 2 * t) % 64, y - t
    luma = 64 + (right * right // 9 + down * down // 5 + right * down // 7) % 256 // 2
    return np.stack([luma, 100 + luma // 4, 180 - luma // 4], axis=-1).astype(np.uint8)


def results(folder: Path) -> dict[str, Any]:
    """What the table holds, as this machine has it."""
    source = folder / "source.mp4"
    lossless = {"fps": 25, "crf": 0, "pixel_format": "yuv444p", "source_format": "yuv444p"}
    write_video(source, planes(), **lossless)
    index = index_video(source)
    store_video(source, folder / "stored.mp4", index=index, part=Part(1, FRAMES), form=FORM)
    stored = read_frames(folder / "stored.mp4")
    grey = np.stack(list(iter_luma(folder / "stored.mp4")))

    # Flow and features are of a clip that is the same on every CPU, whatever stored clips are.
    write_video(folder / "media" / "clip.mp4", planes((32, 40)), **lossless)
    row = Clip("clip", "clip.mp4", "x", "g", Split.TRAIN, FRAMES, 25.0, 40, 32, 0, "0" * 64, Status.OK, "", "")
    clips = ClipSet(("x",), (row,), str(folder / "media"))
    settings = ExtractSettings(tvl1=TVL1, bound_px=5.0)
    (entry,) = extract_set(clips, clips.clips, folder, settings).entries
    flow = read_flow(folder / entry.path)
    (entry,) = extract_set(clips, clips.clips, folder, ExtractSettings(tvl1=PRESETS["capped"], bound_px=5.0)).entries
    fused = hashlib.sha256(read_flow(folder / entry.path).tobytes()).hexdigest()

    seen = Preprocessing("rgb", 1, 1, short_side=32, crop=32, mean=(100.0,) * 3, std=(50.0,) * 3)
    extracted = extract(
        _Eye(), FeatureSource("0" * 64, "b", "map", seen), ClipsAndFlow(clips, None), [row], folder, batch_frames=4,
        device="cpu",
    )  # fmt: skip
    features = read_features(folder / extracted.entries[0].path, extracted.shape, 0, FRAMES - 1).float()
    return {
        "index": {"format": INDEX_FORMAT, "found": {k: v for k, v in asdict(index).items() if k != "sha256"}},
        "clip": {
            "format": CLIP_FORMAT,
            "key": stored_key("0" * 64, FORM),
            "shape": list(stored.shape),
            "grey": grey[1:4:2, ::8, ::3].reshape(-1).tolist(),
            "colour": stored[2, ::10, ::3].reshape(-1).tolist(),
        },
        "flow": {
            "format": FLOW_FORMAT,
            "key": settings.key("0" * 64),
            "shape": list(flow.shape),
            "levels": flow[1:4:2, 4::8, 2::4].reshape(-1).tolist(),
            "fused": fused,
            "means": flow.mean(axis=(1, 2)).round(3).reshape(-1).tolist(),
        },
        "features": {
            "format": FEATURE_FORMAT,
            "shape": list(features.shape),
            "values": [float(f"{value:.4g}") for value in features[::2].reshape(-1).tolist()],
        },
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results(tmp_path_factory.mktemp("known"))


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text())
    return table


@pytest.mark.parametrize(
    ("kind", "exact", "bounds"),
    [
        ("index", ("format", "found"), {}),
        ("clip", ("format", "key", "shape"), {"grey": 0.2, "colour": 1.5}),
        ("flow", ("format", "key", "shape", "fused"), {"levels": 0.2, "means": 0.02}),
        ("features", ("format", "shape"), {"values": 0.01}),
    ],
)
def test_results_are_those_of_their_format(
    found: dict[str, Any], known: dict[str, Any], kind: str, exact: tuple[str, ...], bounds: dict[str, float]
) -> None:
    assert {name: found[kind][name] for name in exact} == {name: known[kind][name] for name in exact}
    for name, bound in bounds.items():
        off = np.abs(np.subtract(found[kind][name], known[kind][name])).mean()
        assert off <= bound, f"another {kind}: raise its version in kineflow/spec/formats.py, and enter it here"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        TABLE.write_text(json.dumps(results(Path(folder))) + "\n")
