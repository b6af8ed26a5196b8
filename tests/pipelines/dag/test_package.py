"""The compiled package is reviewed in diffs; ``python tests/pipelines/test_package.py`` writes the golden one anew."""

from pathlib import Path

import pytest
import yaml

from pipelines.dag.graph import graph_of
from pipelines.dag.package import SOURCE_DIGEST, compile_package
from pipelines.dag.params import load_params
from pipelines.dag.recipes import recipe_names
from pipelines.dag.sources import ROOT, source_digest

GOLDEN = Path(__file__).parents[1] / "golden"


def package(recipe: str, digest: str | None = None) -> str:
    own = ROOT / "params" / f"{recipe}.yaml"
    params = own if own.exists() else ROOT / "params.yaml"
    return compile_package(recipe, load_params(graph_of(recipe), params), digest=digest)


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_package_is_the_golden_one(recipe: str) -> None:
    assert package(recipe, digest="golden") == (GOLDEN / f"{recipe}.yaml").read_text(), __doc__


def test_every_task_carries_the_digest_of_its_sources() -> None:
    executors = yaml.safe_load(package("d3d"))["deploymentSpec"]["executors"]
    digests = {label: executor["container"]["env"] for label, executor in executors.items()}
    assert digests["exec-train"] == [{"name": SOURCE_DIGEST, "value": source_digest("train")}]
    assert digests["exec-train-2"] == digests["exec-train"] != digests["exec-ingest"]


def test_parameters_are_the_defaults_of_the_package() -> None:
    inputs = yaml.safe_load(package("d3d"))["root"]["inputDefinitions"]["parameters"]
    assert inputs["seed"]["defaultValue"] == 1
    assert inputs["teacher"]["defaultValue"]["frames"] == 12


if __name__ == "__main__":
    for name in recipe_names():
        (GOLDEN / f"{name}.yaml").write_text(package(name, digest="golden"))
