"""The package is reviewed in diffs; ``python -m tests.pipelines.dag.test_package`` writes the golden files anew."""

import re
from pathlib import Path

import pytest
import yaml

from pipelines.dag.graph import Produced, graph_of
from pipelines.dag.package import STEP_DIGEST, compile_package
from pipelines.dag.params import demo_params, graph_for, load_params
from pipelines.dag.recipes import recipe_names
from pipelines.dag.sources import ROOT
from pipelines.dag.step_digest import step_digests

GOLDEN = Path(__file__).parents[1] / "golden"
_DIGEST = re.compile(r"(# code: |\bvalue: )'?[0-9a-f]{16}'?")


def package(recipe: str) -> str:
    return compile_package(recipe, load_params(graph_of(recipe), ROOT / demo_params(recipe)))


def without_digests(text: str) -> str:
    """The package as it is reviewed: it does not change with every line of code."""
    return _DIGEST.sub(r"\1golden", text)


def wiring(recipe: str) -> str:
    """The DAG of a recipe, a line for each thing that a task is given."""
    lines = []
    for task in graph_of(recipe).tasks:
        lines.append(f"{task.name}: {task.module} -> {', '.join(task.outputs)}")
        for name in task.inputs:
            lines.append(f"  {name} <- {', '.join(_shown(made) for made in task.paths(name))}")
        lines += [f"  {name} = params {key}" for name, key in task.sections.items()]
        lines += [f"  {name} = {value!r}" for name, value in task.constants.items()]
        lines += [f"  after {name}" for name in task.after]
    return "\n".join(lines) + "\n"


def _shown(made: Produced) -> str:
    return f"{made.task}.{made.output}"


def test_the_package_is_the_golden_one() -> None:
    assert without_digests(package("d3d")) == (GOLDEN / "d3d.yaml").read_text(), __doc__


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_wiring_is_the_golden_one(recipe: str) -> None:
    assert wiring(recipe) == (GOLDEN / f"{recipe}.txt").read_text(), __doc__


@pytest.mark.slow
def test_every_task_carries_the_digest_of_its_code() -> None:
    executors = yaml.safe_load(package("d3d"))["deploymentSpec"]["executors"]
    given = {label: executor["container"]["env"] for label, executor in executors.items()}
    digests = step_digests(graph_of("d3d"), load_params(graph_of("d3d"), ROOT / "params.yaml"), ROOT)
    assert given["exec-train"] == [{"name": STEP_DIGEST, "value": digests["train"]}]
    assert given["exec-train-2"] == given["exec-train"] != given["exec-ingest"]


def test_parameters_are_the_defaults_of_the_package() -> None:
    inputs = yaml.safe_load(package("d3d"))["root"]["inputDefinitions"]["parameters"]
    assert inputs["seed"]["defaultValue"] == 1
    assert inputs["teacher"]["defaultValue"]["frames"] == 12


def test_a_package_has_the_optional_steps_that_its_parameters_ask_for(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text() + "\ndescriptor: {frames: 12}\n")
    spec = yaml.safe_load(compile_package("d3d", load_params(graph_for("d3d", path), path)))
    assert spec["root"]["dag"]["tasks"].keys() >= {"describe", "pretrain-descriptor", "train-blend"}
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert inputs["descriptor"]["defaultValue"]["frames"] == 12
    assert inputs["selection"]["defaultValue"]["folds"] == 5


if __name__ == "__main__":
    (GOLDEN / "d3d.yaml").write_text(without_digests(package("d3d")))
    for each in recipe_names():
        (GOLDEN / f"{each}.txt").write_text(wiring(each))
