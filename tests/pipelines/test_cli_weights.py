from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kineflow.models.named_weights import MIRROR
from kineflow.models.normalisation import CAFFE
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.models.published import input_of
from kineflow.models.registry import create_backbone
from kineflow.models.weights_table import TABLE
from kineflow.storage.files import sha256_of
from pipelines.cli import app
from tests.kineflow.models.weight_files import caffemodel, drawn

CLASSES = 11


def test_the_list_tells_what_each_file_is_and_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(MIRROR, raising=False)
    listed = CliRunner().invoke(app, ["weights"]).output
    told = "\n".join(line for line in listed.splitlines() if not line.startswith("  where    /"))
    assert max(map(len, told.splitlines())) <= 100
    for row in TABLE:
        of_row = listed.partition(f"\n{row.name} ")[2].partition("where ")[0]
        facts = (*row.fits, row.learnt, str(row.classes), row.sha256[:8], row.licence, str(row.normalisation))
        assert [fact for fact in facts if fact not in of_row] == []


def as_caffe_writes(path: Path) -> None:
    """A BN-Inception of TSN's Caffe, for eleven classes."""
    state = drawn(create_backbone("bn_inception", num_classes=CLASSES))
    layers = {}
    for name in [key.removesuffix(".weight") for key in state if key.endswith(".weight")]:
        group, rest = name.split("_", 1) if name.startswith("conv") else (name[:12], name[13:])
        kinds = ("weight", "bias", "running_mean", "running_var") if name.endswith("_bn") else ("weight", "bias")
        layers["fc-action" if name == "last_linear" else f"{group}/{rest}"] = [
            state[f"{name}.{kind}"].numpy() for kind in kinds
        ]
    path.write_bytes(caffemodel(layers))


def run(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["weights", *map(str, words)])
    return result.exit_code, result.output


@pytest.mark.slow
def test_a_file_of_caffe_becomes_one_that_a_run_starts_from(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "tsn.caffemodel", tmp_path / "tsn.safetensors"
    as_caffe_writes(theirs)
    with pytest.raises(ValueError, match=f"kineflow weights convert {theirs.name} --to {ours.name}"):
        PretrainTsnSettings(checkpoint=str(theirs), sha256=sha256_of(theirs))
    code, said = run("convert", theirs, "--to", ours)
    assert code == 0, said
    facts = ("mapped   416 tensors", "classes  11", "licence  not known", f"sha256   {sha256_of(ours)}")
    assert [fact for fact in facts if fact not in said] == []
    _, seen = run("inspect", ours)
    assert [fact for fact in ("fits     bn_inception", "classes  11", str(CAFFE)) if fact not in seen] == []
    params = PretrainTsnSettings(checkpoint=str(ours), sha256=sha256_of(ours))
    assert params.rgb_input(input_of(params.checkpoint, params.sha256)) == CAFFE


def test_what_cannot_be_converted_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.caffemodel").write_bytes(caffemodel({"conv": [[[1.0]]]}))
    out = tmp_path / "out.safetensors"
    for words, said in (
        ((tmp_path / "a.caffemodel", "--to", out), "of no network that is known"),
        ((tmp_path / "a.caffemodel", "--to", out, "--network", "vgg16"), "weights do not fit the network"),
        ((tmp_path / "a.caffemodel", "--to", tmp_path / "out.pth"), "let it end in .safetensors"),
        ((tmp_path / "none.mat", "--to", out), "no such file"),
    ):
        code, told = run("convert", *words)
        assert code == 2
        assert said in told
    assert [path.name for path in tmp_path.iterdir()] == ["a.caffemodel"]


def test_files_that_have_no_hash_are_listed_with_what_becomes_of_them() -> None:
    code, told = run("others")
    assert code == 0
    assert [
        name for name in ("caffemodel.v5", "imagenet-resnet-50-dag.mat", "S3D_kinetics400.pt") if name not in told
    ] == []
