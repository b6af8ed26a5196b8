import dataclasses

import pytest
import torch

from components.frontend.run import execute
from components.import_teacher import import_teacher
from kineflow.models.bundle import load_bundle, weights_digest
from kineflow.storage.errors import KineflowError


def test_a_bundle_comes_in_under_another_name_and_is_what_it_was(tiny_initial, tmp_path):
    digest = weights_digest(tiny_initial["flow"])
    params = {"bundle": str(tiny_initial["flow"]), "name": "mine", "sha256": digest.upper()}
    result = execute(import_teacher, {"params": params, "model": tmp_path / "model"})
    (before, card), (after, named) = (load_bundle(folder) for folder in (tiny_initial["flow"], tmp_path / "model"))
    assert all(torch.equal(*pair) for pair in zip(before.parameters(), after.parameters(), strict=True))
    assert weights_digest(tmp_path / "model") == digest
    assert dataclasses.replace(named, name=card.name, lineage=card.lineage) == card
    assert named.name == "mine"
    assert named.lineage["imported_from"] == str(tiny_initial["flow"])
    assert "64 flow frames" in result.summary


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "not 0000"),
        ({"bundle": "nowhere"}, "not a model.s folder"),
        ({"name": "teacher"}, "own"),
        ({"name": "distilled"}, "own"),
        ({"name": "a\nb"}, "name: a model cannot be called"),
        ({"name": "ü" * 90}, "name: a model cannot be called"),
    ],
)
def test_another_model_than_was_meant(tiny_initial, tmp_path, changes, message):
    params = {"bundle": str(tiny_initial["rgb"]), **changes}
    with pytest.raises(KineflowError, match=message):
        execute(import_teacher, {"params": params, "model": tmp_path / "model"})
    assert not (tmp_path / "model").exists()
