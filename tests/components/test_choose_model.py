import json
from pathlib import Path

import pytest
import torch

from components.choose_model import choose_model
from kineflow.models.bundle import save_bundle, weights_digest
from kineflow.models.card import ModelCard, load_card
from kineflow.models.registry import create_model
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    wanted = Preprocessing("rgb", 8, 1, 64, 64, (128.0,) * 3, (64.0,) * 3)
    for seed, name in enumerate(("plain", "student")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = create_model("s3d", num_classes=2, width=0.0625)
        save_bundle(folder / name, network, ModelCard(name, "s3d", {"width": 0.0625}, ("a", "b"), wanted))
    return [folder / "plain", folder / "student"]


def evaluation(folder: Path, data: dict[str, object]) -> Path:
    (folder / "metrics.json").write_text(json.dumps({"data": data}))
    return folder


def test_the_evaluations_student_is_handed_on_as_it_is(bundles: list[Path], tmp_path: Path) -> None:
    about = evaluation(tmp_path, {"student": "student"})
    result = choose_model(models=bundles, evaluation=about, model=tmp_path / "model")
    assert load_card(tmp_path / "model").name == "student"
    assert weights_digest(tmp_path / "model") == weights_digest(bundles[1])
    assert result.summary == "student, of plain, student"


@pytest.mark.parametrize(
    ("data", "message"), [({"student": "teacher"}, "'teacher'[\\s\\S]*'plain', 'student'"), ({}, "data.student")]
)
def test_a_student_that_is_not_there_is_an_error(
    bundles: list[Path], tmp_path: Path, data: dict[str, object], message: str
) -> None:
    with pytest.raises(KineflowError, match=message):
        choose_model(models=bundles, evaluation=evaluation(tmp_path, data), model=tmp_path / "model")
    assert not (tmp_path / "model").exists()
