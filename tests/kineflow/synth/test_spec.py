from typing import Any

import pytest

from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError
from kineflow.synth.spec import SynthSpec


def test_defaults_make_the_demo_set() -> None:
    spec = SynthSpec()
    clips = {name: count * len(spec.classes) * spec.takes for name, count in spec.groups.model_dump().items()}
    assert clips == {"train": 96, "val": 64, "test": 320, "unlabelled": 960}
    assert 2 * spec.largest_radius_px <= spec.size_px


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": ["grow", "jump"]}, "synth.classes: no motion class jump; known: translate_left"),
        ({"classes": ["grow", "grow"]}, "synth.classes: a class is listed twice"),
        ({"classes": ["grow"]}, "synth.classes: .*at least 2"),
        ({"speed_px": [3, 1]}, r"synth.speed_px: .*least ≤ greatest"),
        ({"growth": [0, 0.1]}, r"synth.growth: .*0 < least"),
        ({"radius_px": 20}, r"largest actor is 87.. px wide"),
        ({"frames": 40}, "largest actor is .* px wide"),
        ({"size_px": 63}, "synth.size_px: .*multiple of 2"),
        ({"speed": 2}, "synth.speed: unknown key"),
        ({"groups": {"trains": 2}}, "synth.groups.trains: unknown key; known keys: test, train, unlabelled, val"),
        ({"crf": 52}, "synth.crf: .*less than or equal to 51"),
    ],
)
def test_impossible_values_name_the_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        parse_params(SynthSpec, values, where="synth")
