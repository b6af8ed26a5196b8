import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.frontend.command import command, resolve
from components.frontend.contract import Signature, load_step, step_names
from components.frontend.section_help import keys_of
from tests.components.frontend.brew import brew

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def water(tmp_path, monkeypatch) -> Path:
    for variable in ("KINEFLOW_RUN_ID", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "water").write_text("")
    (tmp_path / "params.yaml").write_text("seed: 7\nbrewing: {strength: 5}\nname: earl\n")
    return tmp_path / "water"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        command(brew, [str(argument) for argument in arguments])
    return ended.value.code


def brewed(water: Path, *arguments: object) -> list:
    """What ``brew`` was given: strength, name, cups, share, hot, milk, leaves."""
    tea = water.parent / "tea"
    assert run("--water", water, "--leaves", "mint", "--tea", tea, "--name", "x", *arguments) == 0
    return json.loads(tea.read_text())


class TestCommand:
    def test_defaults(self, water):
        assert brewed(water) == [3, "x", 1, 0.5, True, None, ["mint"]]

    def test_an_input_of_several_takes_all_that_follow(self, water):
        assert brewed(water, "--leaves", "oolong", "sencha")[6] == ["oolong", "sencha"]

    def test_sections_and_values_from_a_file_or_in_place(self, water):
        file = water.parent / "params.yaml"
        given = ["--params", f"{file}:brewing", "--cups", f"{file}:seed", "--share", "1", "--hot", "false"]
        assert brewed(water, *given, "--milk", water) == [5, "x", 7, 1.0, False, "water", ["mint"]]
        assert brewed(water, "--params", '{"strength": 4}')[0] == 4
        assert brewed(water, "--name", f"{file}:name")[1] == "earl"

    @pytest.mark.parametrize("name", ["3", "1e3", "null", "true", '{"a": 1}'])
    def test_a_name_that_looks_like_json_stays_a_name(self, water, name):
        assert brewed(water, "--name", name)[1] == name

    @pytest.mark.parametrize(("text", "value"), [("0", False), ("1", True), ("true", True)])
    def test_booleans(self, water, text, value):
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
    def test_value_of_another_type_names_the_argument(self, water, capsys, flag, text, kind):
        assert run("--water", water, "--leaves", "mint", "--tea", water.parent / "tea", "--name", "x", flag, text) == 2
        assert capsys.readouterr().err.startswith(f"error: {flag}: ")
        assert not (water.parent / "tea").exists()

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ('{"strength": 9}', "params.strength: input should be less than or equal to 5, not 9"),
            ('{"strenth": 1}', "params.strenth: unknown key; known keys: kettle, label, sort, strength"),
            ("strong", "params: a mapping of keys to values is expected, not 'strong'"),
            ("FILE:teacher", "no section 'teacher'; there are seed, brewing, name"),
            ("FILE:seed", "params: a mapping of keys to values is expected, not 7"),
            ("absent.yaml:brewing", "absent.yaml: not readable"),
        ],
    )
    def test_bad_parameters_end_before_any_work(self, water, capsys, params, said):
        params = params.replace("FILE", str(water.parent / "params.yaml"))
        assert (
            run("--water", water, "--leaves", "mint", "--tea", water.parent / "tea", "--name", "x", "--params", params)
            == 2
        )
        message = capsys.readouterr().err
        assert said in message
        assert "Traceback" not in message
        assert not (water.parent / "tea").exists()

    def test_a_mistake_is_one_message_with_its_remedy(self, tmp_path, capsys):
        assert run("--water", tmp_path / "dry", "--leaves", "mint", "--tea", tmp_path / "tea", "--name", "x") == 2
        assert capsys.readouterr().err == f"error: {tmp_path / 'dry'}: no water\n  → fetch some\n"

    @pytest.mark.parametrize("missing", ["--water", "--leaves", "--tea", "--name"])
    def test_missing_arguments_are_named(self, water, capsys, missing):
        given = {"--water": water, "--leaves": water, "--tea": water.parent / "tea", "--name": "x"}
        del given[missing]
        assert run(*(part for pair in given.items() for part in pair)) == 2
        assert missing in capsys.readouterr().err

    def test_abbreviations_are_refused(self, water):
        assert run("--wat", water, "--leaves", "mint", "--tea", water.parent / "tea", "--name", "x") == 2

    def test_figures_are_written_as_json(self, water):
        metrics, classification = water.parent / "new" / "metrics.json", water.parent / "confusion.json"
        brewed(water, "--metrics", metrics, "--classification", classification, "--cups", 2)
        assert json.loads(metrics.read_text()) == {"cups": 2}
        assert json.loads(classification.read_text()) == {"classes": ["a", "b"], "counts": [[1, 0], [0, 2]]}

    def test_help_lists_every_argument_with_its_default(self, capsys):
        assert run("--help") == 0
        output = capsys.readouterr().out
        assert "Make tea." in output
        assert all(
            flag in output for flag in ("--water", "--milk", "--tea", "--metrics", "--params", "--name", "--cups")
        )
        assert "strength: 3\n      int >= 1 and <= 5. Spoons a cup.\n" in output
        assert "label: 100%\n" in output
        assert "sort: null\n      black | green | null\n" in output
        assert "kettle.litres: 1.5\n      float > 0. How much it holds.\n" in output
        assert "Boiling, at 100 % heat; of a spring" in output
        assert "How many to pour. (int, or FILE.yaml:KEY; 1 by default)" in " ".join(output.split())
        assert "Args:" not in output
        assert "tracker" not in output
        assert "Raises" not in output


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("true", True), ('{"a": [1]}', {"a": [1]}), ("plain text", "plain text"), ("s3://a:b", "s3://a:b")],
)
def test_resolve_reads_json_or_keeps_the_text(text, value):
    assert resolve(text) == value


HELP_OF_ALL = """
import sys
from components.frontend.command import command
from components.frontend.contract import load_step, step_names
heavy = {"torch", "mlflow", "great_expectations", "pandas", "matplotlib", "cv2", "av", "boto3", "kfp"}
for name in step_names():
    try:
        command(load_step(f"components.{name}"), ["--help"])
    except SystemExit:
        print("imported:", *sorted(heavy & sys.modules.keys()))
"""


def test_help_of_every_step_imports_nothing_heavy():
    shown = subprocess.run(
        [sys.executable, "-c", HELP_OF_ALL], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert all(f"usage: python -m components.{name} " in shown for name in step_names())
    assert [line for line in shown.splitlines() if line.startswith("imported:")] == ["imported:"] * len(step_names())


def test_every_key_of_every_section_is_explained():
    unexplained = [
        f"{name}: {key.name}"
        for name in step_names()
        for section in Signature.of(load_step(f"components.{name}")).sections.values()
        for key in keys_of(section)
        if not key.meaning
    ]
    assert unexplained == []


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
    assert "params: steps and validate_every_steps must be at least 1" in ended.stderr
    assert "Traceback" not in ended.stderr
