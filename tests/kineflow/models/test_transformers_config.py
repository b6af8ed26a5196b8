"""A configuration of transformers is data: taken within bounds, or refused with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.models.registry import create_model
from kineflow.models.transformers_config import FAMILIES, config_of_file, config_of_text
from kineflow.models.transformers_input import input_of_folder
from kineflow.storage.errors import KineflowError

VIDEOMAE: dict[str, Any] = {"model_type": "videomae", "image_size": 32, "num_frames": 4, "hidden_size": 24}


def read(folder: Path, **changes: Any) -> Any:
    (folder / "config.json").write_text(json.dumps({**VIDEOMAE, **changes}))
    return config_of_file(folder / "config.json")


def test_only_what_shapes_the_network_is_taken(tmp_path: Path) -> None:
    config, classes = read(tmp_path, auto_map={"AutoModel": "evil.Network"}, id2label={"1": "run", "0": "jump"})
    assert classes == ("jump", "run")
    assert "evil" not in config.text
    assert config_of_text(config.text) == config


@pytest.mark.parametrize(
    "published",
    [
        {"model_type": "timesformer", "image_size": 448, "num_frames": 16},  # HR
        {"model_type": "timesformer", "num_frames": 96},  # L
        {"model_type": "vivit"},
        {"model_type": "videomae", "hidden_size": 1408, "num_attention_heads": 16, "num_hidden_layers": 40},
        {
            "model_type": "vjepa2",
            "hidden_size": 1408,
            "num_attention_heads": 22,
            "crop_size": 384,
            "mlp_ratio": 48 / 11,
        },
    ],
)
def test_the_largest_published_ones_are_within_bounds(published: dict[str, Any]) -> None:
    assert config_of_text(json.dumps(published)).size >= 224


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "llama"}, "model_type 'llama'"),
        ({"hidden_size": 10**9}, "hidden_size"),
        ({"num_hidden_layers": 100_000}, "num_hidden_layers"),
        ({"hidden_size": 8184, "num_hidden_layers": 128}, "billion weights"),
        ({"hidden_size": 8184, "num_hidden_layers": 1, "image_size": 2048, "patch_size": 2048}, "206 billion"),
        ({"model_type": "vjepa2", "hidden_size": 8192, "num_hidden_layers": 1, "num_pooler_layers": 32}, "27 billion"),
        ({"hidden_size": 25}, "no multiple of 12 heads"),
        ({"num_frames": 5}, "cannot be cut"),
        ({"image_size": [32, 64]}, "image_size"),
        ({"image_size": 2048, "num_frames": 1024}, "too many"),
        ({"hidden_act": "eval"}, "hidden_act"),
        ({"id2label": {"0": "run", "1": "run"}}, "listed twice"),
        ({"id2label": {"1": "run"}}, "count from 0"),
    ],
)
def test_what_is_not_taken_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(KineflowError, match=said):
        read(tmp_path, **changes)


def test_what_no_memory_is_large_enough_for_is_one_message() -> None:
    pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    with pytest.raises(KineflowError, match="transformers builds no such VideoMAE"):
        create_model("transformers", num_classes=2, in_channels=10**13, config=json.dumps(VIDEOMAE))


@pytest.mark.parametrize("said", ["image_mean", "image_std"])
def test_an_input_beyond_all_figures_is_refused(tmp_path: Path, said: str) -> None:
    config, _ = read(tmp_path)
    settings = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, said: [1e308, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(KineflowError, match=said):
        input_of_folder(tmp_path, config)


def test_defaults_are_the_library_s() -> None:
    transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    for name, kind in FAMILIES.items():
        library = getattr(transformers, kind.family.network.replace("ForVideoClassification", "Config"))()
        ours = kind().model_dump()
        assert ours == {key: getattr(library, key) for key in ours}, name


def test_the_preprocessor_s_settings_become_figures_of_0_to_255(tmp_path: Path) -> None:
    config, _ = read(tmp_path)
    assert input_of_folder(tmp_path, config) is None
    settings = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 32, "width": 32}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**settings, "do_center_crop": False}))
    takes = input_of_folder(tmp_path, config)
    assert takes is not None
    assert takes.normalisation.mean == pytest.approx((127.5,) * 3)
    assert takes.normalisation.std == pytest.approx((63.75,) * 3)
    assert (takes.fit, takes.edge_ratio) == ("squash", 1.0)
    vivit = config_of_text('{"model_type":"vivit"}')  # in −1..1 before that
    takes = input_of_folder(tmp_path, vivit)
    assert takes is not None
    assert takes.normalisation.mean == pytest.approx((191.25,) * 3)
    assert takes.normalisation.std == pytest.approx((31.875,) * 3)


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        ("", "starts from a checkpoint"),
        ("https://hub.example/a/b", "no URL"),
        ("org/name", "needs the commit"),
        ("org/name@main", "needs the commit"),
    ],
)
def test_a_checkpoint_is_a_folder_or_a_commit(checkpoint: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PretrainSettings(architecture="transformers", checkpoint=checkpoint)
