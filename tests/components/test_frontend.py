import errno
import json
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import Field

from components import frontend
from components.contract import Input, Output, StepResult
from components.frontend import (
    Signature,
    check_seed,
    command,
    execute,
    exit_code,
    load_step,
    resolve,
    run_in_kfp,
    say_progress,
)
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError
from kineflow.tracking.tracker import NULL_TRACKER, Tracker

ROOT = Path(__file__).resolve().parents[2]
STEPS = sorted(folder.parent.name for folder in (ROOT / "components").glob("*/step.py"))


class BrewParams(Params):
    strength: int = Field(default=3, ge=1, le=5)
    label: str = "100%"


def brew(
    *,
    water: Input,
    milk: Input | None = None,
    params: BrewParams,
    name: str,
    cups: int = 1,
    share: float = 0.5,
    hot: bool = True,
    tracker: Tracker = NULL_TRACKER,
    tea: Output,
) -> StepResult:
    """Make tea.

    Args:
        water: Boiling, at 100 % heat;
            of a ``spring``.
        cups: How many to pour.
        tracker: Told the temperature.

    Raises:
        KineflowError: No water.
    """
    if not water.exists():
        raise KineflowError("no water", where=water, remedy="fetch some")
    tea.write_text(json.dumps([params.strength, name, cups, share, hot, milk and milk.name]))
    return StepResult(metrics={"cups": cups}, summary=f"{cups} cups", confusion=(["a", "b"], [[1, 0], [0, 2]]))


@pytest.fixture
def step(monkeypatch) -> None:
    """``brew``, reachable as the step ``components/brew``; tracking is off."""
    module = ModuleType("components.brew.step")
    module.brew = brew
    monkeypatch.setitem(sys.modules, "components.brew", ModuleType("components.brew"))
    monkeypatch.setitem(sys.modules, "components.brew.step", module)
    for variable in (frontend.RUN_ID, "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def water(tmp_path) -> Path:
    (tmp_path / "water").write_text("")
    (tmp_path / "params.yaml").write_text("seed: 7\nbrewing: {strength: 5}\nname: earl\n")
    return tmp_path / "water"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        command("brew", [str(argument) for argument in arguments])
    return ended.value.code


def brewed(water: Path, *arguments: object) -> list:
    """What ``brew`` was given: strength, name, cups, share, hot, milk."""
    tea = water.parent / "tea"
    assert run("--water", water, "--tea", tea, "--name", "x", *arguments) == 0
    return json.loads(tea.read_text())


class TestSignature:
    def test_kinds_of_parameters(self):
        signature = Signature.of(brew)
        assert signature.inputs == ("water", "milk")
        assert signature.optional == {"milk"}
        assert signature.outputs == ("tea",)
        assert signature.sections == {"params": BrewParams}
        assert signature.values == {"name": str, "cups": int, "share": float, "hot": bool}
        assert signature.defaults["cups"] == 1
        assert "name" not in signature.defaults

    def test_the_distill_step(self):
        signature = Signature.of(load_step("distill"))
        assert signature.inputs == ("clips", "flow", "initial", "teacher")
        assert signature.optional == frozenset()
        assert signature.outputs == ("model",)
        assert list(signature.sections) == ["params", "distillation"]
        assert signature.values == {"name": str, "use_unlabelled": bool, "seed": int}

    def test_training_reads_flow_where_there_is_some(self):
        assert Signature.of(load_step("train")).optional == {"flow"}


class TestCommand:
    def test_defaults(self, step, water):
        assert brewed(water) == [3, "x", 1, 0.5, True, None]

    def test_sections_and_values_from_a_file_or_in_place(self, step, water):
        file = water.parent / "params.yaml"
        given = ["--params", f"{file}:brewing", "--cups", f"{file}:seed", "--share", "1", "--hot", "false"]
        assert brewed(water, *given, "--milk", water) == [5, "x", 7, 1.0, False, "water"]
        assert brewed(water, "--params", '{"strength": 4}')[0] == 4
        assert brewed(water, "--name", f"{file}:name")[1] == "earl"

    @pytest.mark.parametrize("name", ["3", "1e3", "null", "true", '{"a": 1}'])
    def test_a_name_that_looks_like_json_stays_a_name(self, step, water, name):
        assert brewed(water, "--name", name)[1] == name

    @pytest.mark.parametrize(("text", "value"), [("0", False), ("1", True), ("true", True)])
    def test_booleans(self, step, water, text, value):
        assert brewed(water, "--hot", text)[4] is value

    @pytest.mark.parametrize(
        ("flag", "text", "kind"),
        [
            ("--hot", "maybe", "bool"),
            ("--hot", "2", "bool"),
            ("--cups", "1.5", "int"),
            ("--cups", "true", "int"),
            ("--cups", "many", "int"),
            ("--share", "half", "float"),
        ],
    )
    def test_value_of_another_type_names_the_argument(self, step, water, capsys, flag, text, kind):
        assert run("--water", water, "--tea", water.parent / "tea", "--name", "x", flag, text) == 2
        assert capsys.readouterr().err.startswith(f"error: {flag}: ")
        assert not (water.parent / "tea").exists()

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ('{"strength": 9}', "params.strength: input should be less than or equal to 5, not 9"),
            ('{"strenth": 1}', "params.strenth: unknown key; known keys: label, strength"),
            ("strong", "params: a mapping of keys to values is expected, not 'strong'"),
            ("FILE:teacher", "no section 'teacher'; there are seed, brewing, name"),
            ("FILE:seed", "params: a mapping of keys to values is expected, not 7"),
            ("absent.yaml:brewing", "absent.yaml: not readable"),
        ],
    )
    def test_bad_parameters_end_before_any_work(self, step, water, capsys, params, said):
        params = params.replace("FILE", str(water.parent / "params.yaml"))
        assert run("--water", water, "--tea", water.parent / "tea", "--name", "x", "--params", params) == 2
        message = capsys.readouterr().err
        assert said in message
        assert "Traceback" not in message
        assert not (water.parent / "tea").exists()

    def test_a_mistake_is_one_message_with_its_remedy(self, step, tmp_path, capsys):
        assert run("--water", tmp_path / "dry", "--tea", tmp_path / "tea", "--name", "x") == 2
        assert capsys.readouterr().err == f"error: {tmp_path / 'dry'}: no water\n  → fetch some\n"

    @pytest.mark.parametrize("missing", ["--water", "--tea", "--name"])
    def test_missing_arguments_are_named(self, step, water, capsys, missing):
        given = {"--water": water, "--tea": water.parent / "tea", "--name": "x"}
        del given[missing]
        assert run(*(part for pair in given.items() for part in pair)) == 2
        assert missing in capsys.readouterr().err

    def test_abbreviations_are_refused(self, step, water):
        assert run("--wat", water, "--tea", water.parent / "tea", "--name", "x") == 2

    def test_figures_are_written_as_json(self, step, water):
        metrics, classification = water.parent / "new" / "metrics.json", water.parent / "confusion.json"
        brewed(water, "--metrics", metrics, "--classification", classification, "--cups", 2)
        assert json.loads(metrics.read_text()) == {"cups": 2}
        assert json.loads(classification.read_text()) == {"classes": ["a", "b"], "counts": [[1, 0], [0, 2]]}

    def test_help_lists_every_argument_with_its_default(self, step, capsys):
        assert run("--help") == 0
        shown = capsys.readouterr().out
        assert "Make tea." in shown
        assert all(
            flag in shown for flag in ("--water", "--milk", "--tea", "--metrics", "--params", "--name", "--cups")
        )
        assert "strength: 3" in shown
        assert "label: 100%" in shown
        assert "Boiling, at 100 % heat; of a spring" in shown
        assert "How many to pour. (int, or FILE.yaml:KEY; 1 by default)" in " ".join(shown.split())
        assert "Args:" not in shown
        assert "tracker" not in shown
        assert "Raises" not in shown


class TestExitCode:
    def raising(self, error: BaseException):
        def work() -> None:
            raise error

        return work

    def test_success(self, capsys):
        assert exit_code(lambda: None) == 0
        assert capsys.readouterr().err == ""

    def test_interruption(self, capsys):
        assert exit_code(self.raising(KeyboardInterrupt())) == 130
        assert capsys.readouterr().err == (
            "interrupted: what was finished is kept; run the same command again to go on\n"
        )

    def test_interruption_in_its_own_words(self, capsys):
        assert exit_code(self.raising(KeyboardInterrupt("start anew"))) == 130
        assert capsys.readouterr().err == "interrupted: start anew\n"

    def test_a_mistake_may_have_a_code_of_its_own(self, capsys):
        assert exit_code(self.raising(KineflowError("full", exit_code=28))) == 28

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device", "/volume/model"),
            OSError(errno.EDQUOT, "Disk quota exceeded", "/volume/model"),
        ],
    )
    def test_full_disk_names_the_file(self, capsys, error):
        assert exit_code(self.raising(error)) == errno.ENOSPC
        assert "/volume/model: no space left on the disk" in capsys.readouterr().err

    def test_full_disk_met_by_a_native_library(self, capsys):
        error = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
        assert exit_code(self.raising(error)) == errno.ENOSPC
        assert capsys.readouterr().err.startswith("error: no space left on the disk\n")

    @pytest.mark.parametrize("error", [OSError(errno.EIO, "broken disk"), ZeroDivisionError()])
    def test_our_own_mistakes_keep_their_traceback(self, error):
        with pytest.raises(type(error)):
            exit_code(self.raising(error))


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("true", True), ('{"a": [1]}', {"a": [1]}), ("plain text", "plain text"), ("s3://a:b", "s3://a:b")],
)
def test_resolve_reads_json_or_keeps_the_text(text, value):
    assert resolve(text) == value


def test_execute_checks_sections_before_the_step_runs(step, water):
    with pytest.raises(KineflowError, match=r"params\.strength"):
        execute("brew", brew, {"water": water, "tea": water.parent / "tea", "name": "x", "params": {"strength": 0}})
    assert not (water.parent / "tea").exists()


def test_a_full_disk_names_where_the_step_wrote(step, water, monkeypatch):
    def full(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(KineflowError, match="no space left") as caught:
        execute("brew", brew, {"water": water, "tea": water.parent / "tea", "name": "x"})
    assert (caught.value.where, caught.value.exit_code) == (water.parent, errno.ENOSPC)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(KineflowError, match=f"seed: a whole number from 0 .* not {seed}"):
        check_seed(seed)


def test_other_libraries_only_warn_after_kfps_executor_has_let_them_speak():
    root = logging.getLogger()
    before = root.level
    try:
        root.setLevel(logging.INFO)
        say_progress()
        assert not logging.getLogger("great_expectations").isEnabledFor(logging.INFO)
        assert logging.getLogger("kineflow.flow").isEnabledFor(logging.INFO)
    finally:
        root.setLevel(before)


class Artifact:
    """What KFP hands a component, as far as the front end looks."""

    def __init__(self, path: Path) -> None:
        self.path, self.logged = str(path), {}

    def log_metric(self, name: str, value: float) -> None:
        self.logged[name] = value

    def log_confusion_matrix(self, classes: list[str], counts: list[list[int]]) -> None:
        self.logged = dict(zip(classes, counts, strict=True))


class TestRunInKfp:
    def test_fills_the_artifacts(self, step, water):
        tea, metrics, classification = (Artifact(water.parent / name) for name in ("tea", "metrics", "confusion"))
        run_in_kfp(
            "brew",
            inputs={"water": Artifact(water), "milk": None},
            outputs={"tea": tea},
            sections={"params": {"strength": 2.0}},  # KFP turns every number into a float
            values={"name": "x", "cups": 4},
            metrics=metrics,
            classification=classification,
        )
        assert json.loads(Path(tea.path).read_text()) == [2, "x", 4, 0.5, True, None]
        assert metrics.logged == {"cups": 4.0}
        assert classification.logged == {"a": [1, 0], "b": [0, 2]}

    def test_fails_the_task_with_the_message(self, step, tmp_path, capsys):
        with pytest.raises(SystemExit) as ended:
            run_in_kfp(
                "brew",
                inputs={"water": Artifact(tmp_path / "dry")},
                outputs={"tea": Artifact(tmp_path / "tea")},
                sections={"params": {}},
                values={"name": "x"},
            )
        assert ended.value.code == 2
        assert "no water" in capsys.readouterr().err


LIST_HEAVY_IMPORTS = """
import sys
from components.frontend import command
try:
    command(sys.argv[1], ["--help"])
finally:
    heavy = {"torch", "lightning", "mlflow", "great_expectations", "pandas", "matplotlib", "cv2", "av", "boto3", "kfp"}
    print("imported:", *sorted(heavy & sys.modules.keys()))
"""


@pytest.mark.parametrize("name", STEPS)
def test_help_imports_nothing_heavy(name):
    shown = subprocess.run(
        [sys.executable, "-c", LIST_HEAVY_IMPORTS, name], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert f"python -m components.{name}" in shown
    assert shown.splitlines()[-1].strip() == "imported:"


def test_python_dash_m_runs_a_step(tmp_path):
    paths = ("--clips", tmp_path, "--initial", tmp_path, "--model", tmp_path / "model")
    ended = subprocess.run(
        [sys.executable, "-m", "components.train", "--params", '{"steps": 0}', "--name", "x", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "params.steps: input should be greater than or equal to 1, not 0" in ended.stderr
    assert "Traceback" not in ended.stderr
