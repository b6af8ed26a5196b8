"""The wheel that travels with a model: this package's files, the same bytes every time, found from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kineflow
from kineflow.serving.package_wheel import add_package_wheel, write_package_wheel
from kineflow.serving.served_model import save_video_model
from kineflow.serving.served_requirements import constraints, requirements

PACKAGE = Path(kineflow.__file__).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_holds_this_package_and_asks_for_nothing(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [about] = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        assert "Requires-Dist" not in archive.read(f"{about}/METADATA").decode()
        assert archive.read("kineflow/serving/predict.py") == (PACKAGE / "serving" / "predict.py").read_bytes()
    own = {f"kineflow/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*") if path.is_file()}
    assert {name for name in names if name.startswith("kineflow/")} == {
        name for name in own if "__pycache__" not in name
    }
    assert len(names - own) == 3
    assert wheel.stat().st_size < 2 * 2**20


def test_the_same_files_give_the_same_bytes_and_others_another_name(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = write_package_wheel(tmp_path)
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())
    copy = tmp_path / "kineflow"
    copy.mkdir()
    (copy / "__init__.py").write_text("")
    (copy / ".env").write_text("PASSWORD=x")
    (copy / "notes.txt").write_text("mine")
    monkeypatch.setattr(kineflow, "__file__", str(copy / "__init__.py"))
    other = write_package_wheel(tmp_path)
    assert other.name != wheel.name
    with zipfile.ZipFile(other) as archive:
        assert [name for name in archive.namelist() if name.startswith("kineflow/")] == ["kineflow/__init__.py"]


@pytest.mark.slow
def test_pip_finds_it_from_another_folder_and_it_is_whole(bundle: Path, tmp_path: Path) -> None:
    """In an image MLflow calls pip from elsewhere; what it installs can be imported without the rest of Kineflow."""
    model, target, elsewhere = tmp_path / "model", tmp_path / "target", tmp_path / "elsewhere"
    elsewhere.mkdir()
    save_video_model(model, bundle, with_example=False)
    add_package_wheel(model)
    listed = model / "requirements.txt"
    lines = listed.read_text().splitlines()
    assert lines[2:] == [*requirements(takes_flow=False), "-c constraints.txt"]
    listed.write_text("\n".join(lines[:2]))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    done = subprocess.run([*command, "-r", str(listed)], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    script = (
        "import kineflow.serving.video_pyfunc as stored, sys;"
        "print(stored.__file__);"
        "print([name for name in sys.modules if name.split('.')[0] in ('components', 'pipelines', 'dvc', 'kfp')])"
    )
    environ = os.environ | {"PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=elsewhere, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(target / "kineflow" / "serving" / "video_pyfunc.py"), "[]"]


def test_all_that_is_needed_is_pinned_once() -> None:
    pinned = constraints(takes_flow=True)
    names = [line.partition("==")[0] for line in pinned]
    assert names == sorted(set(names))
    assert {"torch", "starlette", "llvmlite"} <= set(names)
    assert not {"dvc", "kfp", "mlflow", "kineflow"} & set(names)
    assert {line.lower() for line in requirements(takes_flow=True)} <= set(pinned)
    assert not any("+" in line for line in pinned)


def test_a_network_of_a_library_needs_the_library() -> None:
    assert not {"transformers", "huggingface-hub"} & _names(constraints(takes_flow=False, architecture="s3d"))
    pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    assert {"transformers", "huggingface_hub"} <= _names(requirements(takes_flow=False, architecture="transformers"))
    needed = _names(constraints(takes_flow=False, architecture="transformers"))
    assert {"transformers", "huggingface-hub", "tokenizers", "regex"} <= needed


def _names(lines: list[str]) -> set[str]:
    return {line.partition("==")[0] for line in lines}
