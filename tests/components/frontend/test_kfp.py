"""Components made from signatures: what KFP is told, and what it hands over."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.frontend import kfp_components
from components.frontend.contract import Signature, load_step, step_names
from components.frontend.kfp import component_of, component_source, module_in, run_in_kfp
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError
from tests.components.frontend.brew import brew

ROOT = Path(__file__).resolve().parents[3]
KFP_TYPES = {str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", bool: "BOOLEAN"}


def compiled(component: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A component's interface, and its container, as a package has them."""
    from google.protobuf.json_format import MessageToDict

    spec = MessageToDict(component.pipeline_spec)
    ((interface,), (executor,)) = spec["components"].values(), spec["deploymentSpec"]["executors"].values()
    return interface, executor["container"]


@pytest.mark.parametrize("step", [*(load_step(f"components.{name}") for name in step_names()), brew])
def test_the_interface_is_that_of_the_signature(step: Any) -> None:
    signature = Signature.of(step)
    interface, container = compiled(component_of(step))
    inputs = interface.get("inputDefinitions", {})
    found = {
        name: (artifact["artifactType"]["schemaTitle"], artifact.get("isOptional", False))
        for name, artifact in inputs.get("artifacts", {}).items()
    }
    expected = {
        name: (f"system.{artifact.kind}", name in signature.optional)
        for name, artifact in signature.inputs.items()
        if name not in signature.lists
    }
    for name, between in signature.lists.items():
        kind = f"system.{signature.inputs[name].kind}"
        expected |= {f"{name}_{number}": (kind, number > between.least) for number in range(1, between.most + 1)}
    assert found == expected

    parameters = inputs.get("parameters", {})
    kinds = {name: parameter["parameterType"] for name, parameter in parameters.items()}
    assert kinds == {
        **dict.fromkeys(signature.sections, "STRUCT"),
        **{name: KFP_TYPES[kind] for name, kind in signature.values.items()},
    }
    defaults = {
        name: parameter["defaultValue"] for name, parameter in parameters.items() if "defaultValue" in parameter
    }
    assert defaults == {
        name: value for name, value in signature.defaults.items() if name in signature.values and name != "seed"
    }

    outputs = {
        name: output["artifactType"]["schemaTitle"]
        for name, output in interface["outputDefinitions"].get("artifacts", {}).items()
    } | {
        name: f"system.{output['parameterType']}"
        for name, output in interface["outputDefinitions"].get("parameters", {}).items()
    }
    shown = {"metrics": "system.Metrics"} if signature.shown.metrics else {}
    shown |= {"classification": "system.ClassificationMetrics"} if signature.shown.confusion else {}
    kinds = {name: artifact.kind for name, artifact in signature.outputs.items()}
    assert (
        outputs == {name: f"system.{'STRUCT' if kind == 'Section' else kind}" for name, kind in kinds.items()} | shown
    )
    assert module_in(container["command"][-1]) == step.__module__
    assert not any("pip" in part for part in container["command"])


def test_the_text_in_the_package_can_be_read() -> None:
    assert component_source(load_step("components.train")) == (
        "def train(\n"
        "    clips: dsl.Input[dsl.Dataset],\n"
        "    initial: dsl.Input[dsl.Model],\n"
        "    params: dict,\n"
        "    name: str,\n"
        "    seed: int,\n"
        "    model: dsl.Output[dsl.Model],\n"
        "    metrics: dsl.Output[dsl.Metrics],\n"
        "    flow: dsl.Input[dsl.Dataset] = None,\n"
        ") -> None:\n"
        '    """Train one stream on the labelled clips."""\n'
        "    from components.frontend.kfp import run_in_kfp\n\n"
        '    run_in_kfp("components.train", locals())\n'
    )


def test_a_component_is_imported_by_the_name_of_its_step_and_made_once() -> None:
    from components.frontend.kfp_components import train

    assert train is kfp_components.train is component_of(load_step("components.train"))
    assert dir(kfp_components) == step_names()
    with pytest.raises(AttributeError, match="no step of that name"):
        _ = kfp_components.trian


def test_a_list_fills_slots_and_has_its_limits() -> None:
    from kfp import dsl

    asked: dict[str, Any] = {}

    @dsl.pipeline(name="tea")
    def tea(params: dict):
        seed = {"params": params, "seed": 1}
        made = [kfp_components.pretrain(**seed).outputs["rgb"] for _ in range(4)]
        clips = kfp_components.ingest(**seed).outputs["clips"]
        task = component_of(brew)(water=clips, leaves=made[:2], name="x", **seed)
        asked.update(task.inputs)
        for wrong in ([], made):
            with pytest.raises(KineflowError, match="leaves: 1 to 3 are expected, not"):
                component_of(brew)(water=clips, leaves=wrong, name="x", **seed)

    assert asked.keys() == {"water", "leaves_1", "leaves_2", "name", "params", "seed"}


class Handed:
    """What KFP hands a component, as far as the front end looks."""

    def __init__(self, path: Path) -> None:
        self.path, self.logged = str(path), {}  # type: ignore[var-annotated]

    def log_metric(self, name: str, value: float) -> None:
        self.logged[name] = value

    def log_confusion_matrix(self, classes: list[str], counts: list[list[int]]) -> None:
        self.logged = dict(zip(classes, counts, strict=True))


@pytest.fixture
def handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "water").touch()
    artifacts = {name: Handed(tmp_path / name) for name in ("water", "tea", "metrics", "classification")}
    slots = {"leaves_1": Handed(tmp_path / "oolong"), "leaves_2": Handed(tmp_path / "mint"), "leaves_3": None}
    plain = {"params": {"strength": 2.0}, "name": "x", "cups": 4, "share": 0.5, "hot": True, "seed": 0}
    return {**artifacts, **slots, **plain, "milk": None, "run_in_kfp": run_in_kfp}  # numbers as KFP hands them over


def test_a_task_runs_the_step_and_fills_its_artifacts(handed: dict[str, Any]) -> None:
    run_in_kfp(brew.__module__, handed)
    assert json.loads(Path(handed["tea"].path).read_text()) == [2, "x", 4, 0.5, True, None, ["oolong", "mint"]]
    assert handed["metrics"].logged == {"cups": 4.0}
    assert handed["classification"].logged == {"a": [1, 0], "b": [0, 2]}


def test_a_task_fails_with_the_message(handed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    Path(handed["water"].path).unlink()
    with pytest.raises(SystemExit) as ended:
        run_in_kfp(brew.__module__, handed)
    assert ended.value.code == 2
    assert "no water" in capsys.readouterr().err


def test_a_component_that_is_none_of_ours() -> None:
    with pytest.raises(KineflowError, match="not made from a step"):
        module_in("def train() -> None:\n    pass\n")


GREET = '''
from components.frontend.contract import FileOutput, StepResult
from kineflow.storage.config import Params


class GreetSettings(Params):
    whom: str = "world"


def greet(*, params: GreetSettings, word: FileOutput) -> StepResult:
    """Say a word."""
    word.write_text(f"hello {params.whom}")
    return StepResult()
'''
CHORUS = """
from typing import Annotated
from components.frontend.contract import Between, FileInput, FileOutput, StepResult


def chorus(*, words: Annotated[list[FileInput], Between(1, 3)], song: FileOutput) -> StepResult:
    song.write_text(", ".join(path.read_text() for path in words))
    return StepResult()
"""
RUNS_THEM = """
import sys
from kfp import dsl, local
from components.frontend.kfp import component_of
from my_package.chorus import chorus
from my_package.greet import greet

@dsl.pipeline(name="greeting")
def pipeline():
    words = [component_of(greet)(params={"whom": whom}).outputs["word"] for whom in ("you", "me")]
    component_of(chorus)(words=words)

local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])
pipeline()
"""


@pytest.mark.slow
def test_somebody_elses_steps_run_as_tasks(tmp_path: Path) -> None:
    """In processes of KFP's own, in which ``kfp.dsl`` has no decorators."""
    (tmp_path / "my_package").mkdir()
    for name, text in (("greet", GREET), ("chorus", CHORUS)):
        (tmp_path / "my_package" / f"{name}.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", RUNS_THEM, str(tmp_path / "runs")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (song,) = (tmp_path / "runs").rglob("song")
    assert song.read_text() == "hello you, hello me"


def test_sections_are_read_with_the_libraries_own_classes() -> None:
    """A section that a step takes is a class of the library: nothing defines one beside the step."""
    for name in step_names():
        for kind in Signature.of(load_step(f"components.{name}")).sections.values():
            assert issubclass(kind, Params)
            assert kind.__module__.startswith(("kineflow.", "components.dvc."))
            assert kind.__name__.endswith("Settings")
