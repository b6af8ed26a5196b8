import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from kineflow.models.bundle import weights_digest
from kineflow.registry.measured import Measured
from kineflow.registry.named_model import named_bundle
from kineflow.registry.registration import register_student
from kineflow.storage.errors import KineflowError
from kineflow.tracking.runs import open_step_run
from kineflow.tracking.store import connect

pytestmark = pytest.mark.slow

SHOWN = Measured({"top1": 0.5}, "a" * 64, 12)


def digest_of(model: str) -> str:
    with named_bundle(model) as folder:
        return weights_digest(folder)


def test_a_name_stands_for_champion_candidate_latest_and_runs(
    project: Path, make_bundle: Callable[[int], Path], caplog: pytest.LogCaptureFixture
) -> None:
    bundles = [make_bundle(seed) for seed in range(2)]
    digests = [weights_digest(bundle) for bundle in bundles]
    with pytest.raises(KineflowError, match="models:/demo"):
        digest_of("models:/demo")
    with open_step_run("register", params={}, experiment="d3d", pipeline_run_id="p1") as run:
        register_student(bundles[0], name="demo", evaluation=SHOWN, run_id=run.run_id)
    register_student(bundles[1], name="demo", evaluation=SHOWN)
    with caplog.at_level(logging.INFO, "kineflow"):
        assert digest_of("models:/demo") == digests[1]
        assert "version 2 (candidate; it has no champion)" in caplog.text
        connect().set_registered_model_alias("demo", "champion", "1")
        assert digest_of("models:/demo") == digests[0]
        assert "version 1 (champion)" in caplog.text
    assert digest_of("models:/demo/latest") == digest_of("models:/demo/2") == digests[1]
    assert digest_of(f"runs:/{run.run_id}") == digest_of(f"runs:/{run.parent_id}") == digests[0]

    with open_step_run("train", params={}, experiment="d3d") as other:
        other.log_artifact(bundles[1], "model")
        other.log_artifact(bundles[0], "kept/bundle")
    assert digest_of(f"runs:/{other.run_id}") == digests[1]
    assert digest_of(f"runs:/{other.run_id}/kept/bundle") == digests[0]
    with pytest.raises(KineflowError, match="missing from its files"):
        digest_of(f"runs:/{other.run_id}/gone")


@pytest.mark.parametrize(
    "model", ["models:/nobody", "models:/nobody/latest", "runs:/" + "0" * 32, "models:/'x'/latest"]
)
def test_what_is_not_there_is_named(project: Path, model: str) -> None:
    with pytest.raises(KineflowError):
        digest_of(model)
