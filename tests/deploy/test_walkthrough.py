"""docs/cluster.md: its commands are commands, its files are there, and what can be run without a cluster runs."""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup
from typer.exceptions import TyperException

from pipelines.cli import app
from tests.deploy.manifests import MLFLOW_NAMESPACE, NAMESPACE, OVERLAYS, ROOT, built, secret_keys, secrets
from tests.deploy.postgres import Postgres

PAGE = ROOT / "docs" / "cluster.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SHELL = [content for language, content in BLOCKS if language == "sh"]
YAML = [content for language, content in BLOCKS if language == "yaml"]
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
IN_LINE = re.findall(r"`([^`\n]+)`", PROSE)

THEIRS = {
    "deployment/ml-pipeline", "service/ml-pipeline-ui", "deployment/kubeflow-trainer-controller-manager",
    "deployment/kineflow-predictor", "deployment/kineflow-candidate-predictor",  # KServe's, of InferenceServices
}  # fmt: skip
IMAGE = f"registry.internal:5000/vision/kineflow-python@sha256:{'a1' * 32}"


def _commands() -> list[str]:
    """Command lines of ours; not `kineflow submit` alone, which only speaks of the command."""
    lines = [line for block in SHELL for line in block.replace("\\\n", " ").splitlines()]
    spoken_of = [text for text in IN_LINE if len(text.split()) > 2]
    return sorted({line for line in lines + spoken_of if line.startswith("kineflow ")})


@pytest.mark.parametrize("command", _commands())
def test_every_command_of_ours_is_one_and_has_its_options(command: str) -> None:
    _parse(command)


def test_commands_that_are_only_spoken_of_are_there() -> None:
    spoken_of = {text.split()[1] for text in IN_LINE if text.startswith("kineflow ") and len(text.split()) == 2}
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    assert spoken_of <= set(group.commands)


@pytest.mark.parametrize(
    "command",
    ["kineflow submitt d3d", "kineflow submit d3d --wach", "kineflow submit", "kineflow compare --last many"],
    ids=["command", "option", "missing", "type"],
)
def test_a_wrong_command_would_be_found(command: str) -> None:
    with pytest.raises(TyperException):
        _parse(command)


@pytest.mark.parametrize("block", SHELL, ids=[block.split("\n")[0][:40] for block in SHELL])
def test_every_block_is_shell(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, timeout=30)
    assert not done.stderr


def test_every_file_that_is_named_is_there() -> None:
    places = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} - {"data", "data.dvc", "runs"}
    words = [word for text in [*IN_LINE, *SHELL] for word in re.findall(r"[\w./*-]+", text)]
    named = {word.rstrip(".") for word in words if word.split("/")[0] in places and "/" in word}
    theirs = {name for name in named if name.startswith(("deploy/overlays/mine", "params/mine"))}  # the reader's own
    assert len(named - theirs) > 8
    missing = {name for name in named - theirs if not (ROOT / name).exists()}
    assert not missing
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXT) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        assert (PAGE.parent / path).exists(), link
        assert not anchor or anchor in _anchors((PAGE.parent / path).read_text() if path else PROSE), link


@pytest.mark.slow
def test_the_parameters_on_the_page_make_a_package_for_a_cluster(tmp_path: Path) -> None:
    from pipelines.cluster.data_version import DataVersion
    from pipelines.cluster.package import compile_for_cluster
    from pipelines.dag.graph import graph_of
    from pipelines.dag.params import load_cluster, load_params

    ingestion, cluster, plugin, training, placed, growing = (yaml.safe_load(block) for block in YAML)
    inline = yaml.safe_load(next(text for text in IN_LINE if text.startswith("teacher: {")))
    params = yaml.safe_load((ROOT / "params" / "d3d_ucf101.yaml").read_text(encoding="utf-8"))
    params["ingestion"] |= ingestion["ingestion"]
    params["teacher"] |= training["teacher"]
    params["registration"] |= growing["registration"]
    cluster["cluster"] |= plugin["cluster"]
    cluster["cluster"]["secrets"] |= growing["cluster"]["secrets"]
    cluster["cluster"]["steps"] |= placed["cluster"]["steps"] | inline
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params | cluster), encoding="utf-8")
    checked, resources = load_params(graph_of("d3d"), path), load_cluster(path)
    assert resources is not None
    assert checked["teacher"]["nodes"] == training["teacher"]["nodes"] > 1
    assert inline["teacher"]["gpus"] == training["teacher"]["devices"]
    data = DataVersion(f"{'0123456789abcdef' * 2}.dir", "s3://kineflow/dvc")
    package = compile_for_cluster("d3d", checked, resources, data=data)
    assert "/cache/data/0123456789abcdef0123456789abcdef/videos" in package
    assert "kineflow-data" in package
    assert "kueue.x-k8s.io/queue-name: team-gpus" in package  # of the other trainings; the teacher's is its job's
    assert "resourceType: nvidia.com/mig-1g.10gb" in package


def test_the_section_cluster_names_what_the_overlays_make() -> None:
    cluster: dict[str, Any] = yaml.safe_load(YAML[1])["cluster"]
    for overlay in OVERLAYS:
        there = {(one["metadata"].get("namespace"), one["kind"], one["metadata"]["name"]) for one in built(overlay)}
        assert (NAMESPACE, "PersistentVolumeClaim", cluster["volume"]["claim"]) in there
        assert (NAMESPACE, "ServiceAccount", "kineflow-runner") in there
        assert (MLFLOW_NAMESPACE, "Service", "mlflow") in there
    assert set(cluster["secrets"].values()) <= set(secret_keys(NAMESPACE))
    assert cluster["environment"]["MLFLOW_TRACKING_URI"] == f"http://mlflow.{MLFLOW_NAMESPACE}.svc:5000"


@pytest.mark.parametrize(
    ("name", "namespace"), [(one["metadata"]["name"], one["metadata"]["namespace"]) for one in secrets()]
)
def test_the_commands_make_secrets_where_they_are_read_with_the_keys_that_are_read(name: str, namespace: str) -> None:
    """Run for real, with kubectl's dry run."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    (command,) = [line for block in SHELL for line in block.splitlines() if f" secret generic {name} " in line]
    given = "export AWS_ACCESS_KEY_ID='an id' AWS_SECRET_ACCESS_KEY='a \"secret\" $key'\n"
    given += "address='https://chat.example.com/hook'\n"
    given += "mlflow_key='an id' mlflow_secret='a \"secret\" $key'\n"
    done = subprocess.run(
        ["bash", "-c", f"{given}{command} --dry-run=client --output=yaml"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(done.stdout)
    assert made["metadata"]["namespace"] == namespace
    assert set(made["data"]) == set(secret_keys()[name])
    values = {key: base64.b64decode(value).decode() for key, value in made["data"].items()}
    assert all(values.values())
    assert values.get("AWS_SECRET_ACCESS_KEY", 'a "secret" $key') == 'a "secret" $key'


@pytest.mark.slow
def test_the_commands_back_the_database_up_and_put_it_back(postgres: Postgres, tmp_path: Path) -> None:
    """Run for real, without the ``kubectl exec`` that goes into the pod first."""
    if shutil.which("pg_dump") is None:
        pytest.skip("PostgreSQL's programs are not on the path")
    prefix = re.compile(r"^kubectl -n \S+ exec (-i )?statefulset/postgres -- ")
    back_up, put_back = (prefix.sub("", text) for text in IN_LINE if prefix.match(text))
    surroundings = {**os.environ, **postgres.make_database("mlflow")}

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("psql -c 'CREATE TABLE runs (id int PRIMARY KEY)' -c 'INSERT INTO runs VALUES (7)'")
    run(back_up)
    newer = "CREATE TABLE newer (run int REFERENCES runs)"  # which a later MLflow made, and which holds the old one
    run(f"psql -c 'DELETE FROM runs' -c '{newer}'")
    for _ in range(2):  # and what was put back can be backed up, and put back again
        run(put_back)
        assert run("psql -At -c 'TABLE runs'").split() == ["7"]
        assert postgres.tables("mlflow") == {"runs"}
        run(back_up)


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_commands_make_an_overlay_of_ones_own_with_the_image_that_was_built(overlay: str, tmp_path: Path) -> None:
    built(overlay)  # skips where nothing can build it
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    block = next(block for block in SHELL if block.startswith("cp -r deploy/overlays/minimal"))
    commands = "\n".join(line for line in block.splitlines() if line.startswith(("cp ", "sed ")))
    script = f"set -eu\nimage={IMAGE}\n" + commands.replace("overlays/minimal", f"overlays/{overlay}")
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, timeout=30)
    mine = built(str(tmp_path / "deploy" / "overlays" / "mine"))
    text = yaml.safe_dump_all(mine)
    assert IMAGE in text
    assert "0" * 64 not in text
    assert "registry.example.com" not in text


def test_every_object_that_commands_name_is_made_by_an_overlay_in_the_namespace_that_they_name() -> None:
    made = {
        (one["metadata"].get("namespace"), f"{one['kind'].lower()}/{one['metadata']['name']}")
        for name in OVERLAYS
        for one in built(name)
    }
    commands = [line for text in [*SHELL, *IN_LINE] for line in text.replace("\\\n", " ").splitlines()]
    named = {
        (*re.findall(r"^kubectl -n (\S+)", command), found)
        for command in commands
        for found in re.findall(r"\b(?:deployment|service|statefulset|job)/[\w-]+", command)
    }
    assert {one for one in named if one[-1] not in THEIRS} <= made
    assert len(named) > 4


def test_the_values_of_secrets_are_asked_for_where_they_are() -> None:
    asked_for = re.findall(r"\$\(secret (\S+) (\S+) (\w+)\)", "\n".join(SHELL))
    assert len(asked_for) > 1
    assert all(key in secret_keys(namespace)[name] for namespace, name, key in asked_for)


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _parse(command: str) -> None:
    """Find the command and parse its options, and do nothing.

    Raises:
        TyperException: There is no such command or option, an argument is missing, or a value is of the wrong type.
    """
    words = shlex.split(command, comments=True)
    found, rest = typer.main.get_command(app), words[1:]
    while isinstance(found, TyperGroup):
        _, subcommand, rest = found.resolve_command(typer.Context(found), rest)
        assert subcommand is not None
        found = subcommand
    found.make_context(found.name, list(rest))
