from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from kineflow.evaluation.probe_settings import ProbeSettings
from kineflow.models.stage_names import StageName
from kineflow.models.stages import STAGES
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError


def test_every_stage_of_the_network_can_be_named() -> None:
    assert get_args(StageName) == STAGES
    assert ProbeSettings(stages=STAGES).stages == STAGES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ["Mixed6a"]}, "Mixed5c"),
        ({"stages": []}, "at least 1"),
        ({"stages": ["Conv1a", "Conv1a"]}, "stages must each be named once"),
        ({"decoders": ["pwc", "pwc"]}, "decoders must each be named once"),
        ({"decoders": ["raft"]}, "simple"),
        ({"learn_from": ["train", "val"], "split": "val"}, "split must be none of those"),
    ],
)
def test_what_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(KineflowError, match=message):
        parse_params(ProbeSettings, changes, where="probes")


@pytest.mark.slow
def test_parameters_are_checked_without_torch() -> None:
    code = "import sys, kineflow.evaluation.probe_settings, kineflow.training.variant_settings; "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
