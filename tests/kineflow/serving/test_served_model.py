import base64
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import _parse_json_data

from kineflow.evaluation.view_protocol import centre_views
from kineflow.models.bundle import load_bundle, save_bundle
from kineflow.models.card import ModelCard, load_card
from kineflow.registry.measured import Measured
from kineflow.registry.registration import register_student
from kineflow.serving.predict import predict_video
from kineflow.serving.served_model import LIMITS, load_video_model, save_video_model, scored_row
from kineflow.serving.trial import example_video
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.video.index import index_video

CLASSES = ("left", "right", "spin")
FLOW = FlowSource({"outer_iterations": 1, "inner_iterations": 8, "warps": 2}, bound_px=8.0, short_side=64)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def make_network(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Bundle of a tiny network."""
    import torch

    from kineflow.models.registry import create_model

    def make(name: str, wanted: Preprocessing, classes: tuple[str, ...], flow: FlowSource | None = None) -> Path:
        folder = tmp_path_factory.mktemp("bundles") / name
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = create_model("s3d", num_classes=len(classes), in_channels=len(wanted.mean), width=0.0625)
        save_bundle(folder, network, ModelCard(name, "s3d", {"width": 0.0625}, classes, wanted, flow=flow))
        return folder

    return make


@pytest.fixture(scope="session")
def flow_bundle(make_network: Callable[..., Path]) -> Path:
    """A tiny network that takes flow."""
    return make_network("teacher", Preprocessing("flow", 8, 1, 64, 64, (128.0,) * 2, (64.0,) * 2), CLASSES, FLOW)


def changed_card(bundle: Path, folder: Path, **changes: object) -> Path:
    network, card = load_bundle(bundle)
    save_bundle(folder, network, dataclasses.replace(card, **changes))
    return folder


@pytest.fixture(scope="module")
def saved(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_video_model(folder, bundle, limits={"max_videos": 3, "max_video_bytes": 100_000})
    return folder


@pytest.fixture(scope="module")
def model(saved: Path) -> Any:
    return load_video_model(str(saved))


@pytest.fixture(scope="module")
def video(bundle: Path) -> bytes:
    return example_video(load_card(bundle))


def table(*videos: Any) -> pd.DataFrame:
    return pd.DataFrame({"video": list(videos)})


def as_served(model: Any, payload: dict[str, Any]) -> pd.DataFrame:
    """What MLflow's scoring server answers to a JSON request."""
    parsed = _parse_json_data(json.dumps(payload), model.metadata, model.metadata.get_input_schema())
    return model.predict(parsed.data, params=parsed.params)


class TestAnswers:
    def test_are_those_of_the_network(self, model: Any, bundle: Path, video: bytes) -> None:
        expected = predict_video(video, *load_bundle(bundle), views=centre_views(2))
        [row] = model.predict(table(video)).to_dict("records")
        assert list(row["probabilities"]) == list(CLASSES)
        np.testing.assert_allclose(list(row["probabilities"].values()), expected, rtol=1e-5)
        assert row["label"] == CLASSES[expected.argmax()]
        assert row["score"] == pytest.approx(expected.max())
        assert [entry["label"] for entry in row["top"]] == [CLASSES[index] for index in np.argsort(-expected)]

    def test_topk_shortens_the_list(self, model: Any, video: bytes) -> None:
        predictions = model.predict(table(video, video), params={"topk": 1})
        assert [len(top) for top in predictions["top"]] == [1, 1]
        assert predictions["top"][0][0] == {"label": predictions["label"][0], "score": predictions["score"][0]}

    def test_ties_go_to_the_first_class(self) -> None:
        row = scored_row(np.array([0.25, 0.375, 0.375], np.float32), CLASSES, 2)
        assert row == {
            "label": "right",
            "score": 0.375,
            "top": [{"label": "right", "score": 0.375}, {"label": "spin", "score": 0.375}],
            "probabilities": {"left": 0.25, "right": 0.375, "spin": 0.375},
        }

    def test_they_match_the_signature(self, model: Any, video: bytes) -> None:
        from mlflow.models.utils import _enforce_schema

        predictions = model.predict(table(video))
        assert list(_enforce_schema(predictions, model.metadata.get_output_schema()).columns) == list(
            predictions.columns
        )


class TestInputs:
    @pytest.mark.parametrize(
        "form",
        [
            lambda text: {"dataframe_records": [{"video": text}]},
            lambda text: {"dataframe_split": {"columns": ["video"], "data": [[text]]}},
        ],
        ids=["records", "split"],
    )
    def test_base64_in_json(self, model: Any, video: bytes, form: Any) -> None:
        text = base64.b64encode(video).decode()
        assert as_served(model, form(text) | {"params": {"topk": 2}}).to_dict() == (
            model.predict(table(video), params={"topk": 2}).to_dict()
        )

    def test_the_stored_example(self, model: Any, saved: Path, video: bytes) -> None:
        payload = json.loads((saved / "serving_input_example.json").read_text())
        pd.testing.assert_frame_equal(as_served(model, payload), model.predict(table(video)))

    def test_a_path_object_or_one_video_without_a_table(self, model: Any, video: bytes, tmp_path: Path) -> None:
        path = tmp_path / "clip.mp4"
        path.write_bytes(video)
        expected = model.predict(table(video))
        unwrapped = model.unwrap_python_model()
        pd.testing.assert_frame_equal(model.predict(table(path)), expected)
        for given in (video, path, str(path)):
            pd.testing.assert_frame_equal(unwrapped.predict(None, given), expected)

    def test_text_in_a_request_never_names_a_file(self, model: Any, video: bytes, tmp_path: Path) -> None:
        path = tmp_path / "clip.mp4"
        path.write_bytes(video)
        with pytest.raises(MlflowException, match="not base64"):
            model.predict(table(str(path)))
        for payload in (
            {"inputs": {"video": [str(path)]}},
            {"instances": [{"video": str(path)}]},
            {"dataframe_records": [{"video": str(path)}]},
        ):
            with pytest.raises(Exception, match=r"base64|padding|video 0: not readable as a video"):
                as_served(model, payload)


class TestRefusals:
    @pytest.mark.parametrize(
        ("videos", "reason"),
        [
            ([b""], "video 0: 0 bytes"),
            ([b"not a video"], "video 0: not readable as a video"),
            ([bytes(100_001)], "1 to 100000 are taken"),
            ([Path("gone.mp4")], "no such file"),
            ([b"x"] * 4, "4 videos in one request; at most 3"),
        ],
    )
    def test_what_cannot_be_used_is_a_bad_request(self, model: Any, videos: list[Any], reason: str) -> None:
        with pytest.raises(MlflowException, match=reason) as caught:
            model.predict(table(*videos))
        assert caught.value.get_http_status_code() == 400

    def test_the_place_of_the_bad_video_is_named(self, model: Any, video: bytes) -> None:
        with pytest.raises(MlflowException, match="video 1: "):
            model.predict(table(video, b"x"))

    def test_topk_below_one(self, model: Any, video: bytes) -> None:
        with pytest.raises(MlflowException, match="topk must be at least 1"):
            model.predict(table(video), params={"topk": 0})

    def test_another_column(self, model: Any, video: bytes) -> None:
        with pytest.raises(MlflowException, match="video"):
            model.predict(pd.DataFrame({"clip": [video]}))

    def test_a_number_instead_of_a_video(self, model: Any) -> None:
        unwrapped = model.unwrap_python_model()
        with pytest.raises(MlflowException, match="a table with a column 'video'"):
            unwrapped.predict(None, 3)
        with pytest.raises(MlflowException, match="bytes are expected, not float"):
            unwrapped.predict(None, table(3.5))

    def test_a_flow_model_that_does_not_know_its_flow_is_not_saved(self, flow_bundle: Path, tmp_path: Path) -> None:
        unknown = changed_card(flow_bundle, tmp_path / "b", flow=None)
        with pytest.raises(KineflowError, match="'teacher'") as caught:
            save_video_model(tmp_path / "m", unknown)
        assert "takes flow, and its card does not say how" in caught.value.problem
        assert not (tmp_path / "m").exists()

    def test_weights_without_classes_are_not_saved(self, make_network: Callable[..., Path], tmp_path: Path) -> None:
        initial = make_network("initial", Preprocessing("rgb", 8, 1, 64, 64, (128.0,) * 3, (64.0,) * 3), ())
        with pytest.raises(KineflowError, match="'initial' has no classes"):
            save_video_model(tmp_path / "m", initial)

    @pytest.mark.parametrize("uri", ["models:/nobody@champion", "models:/nobody/1", "models:/nobody", "models:/a/b/c"])
    def test_an_unknown_model_is_named(self, project: Path, uri: str) -> None:
        with pytest.raises(KineflowError, match=uri):
            load_video_model(uri)


class TestFlow:
    """A network that takes flow is served as any other: the server computes its flow."""

    @pytest.mark.slow
    def test_a_fresh_process_answers_as_this_one(self, flow_bundle: Path, tmp_path: Path) -> None:
        save_video_model(tmp_path / "model", flow_bundle, limits={})
        video = tmp_path / "clip.mp4"
        video.write_bytes(example_video(load_card(flow_bundle)))
        script = (
            "import sys, mlflow.pyfunc, pandas, pathlib\n"
            "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
            "table = pandas.DataFrame({'video': [pathlib.Path(sys.argv[2]).read_bytes()]})\n"
            "print(list(model.predict(table)['probabilities'][0].values()))\n"
        )
        done = subprocess.run(
            [sys.executable, "-B", "-c", script, str(tmp_path / "model"), str(video)],
            capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        expected = predict_video(video, *load_bundle(flow_bundle), views=centre_views(2))
        np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected, rtol=1e-4)

    def test_it_needs_the_compiler_of_the_flow(self, flow_bundle: Path, saved: Path, tmp_path: Path) -> None:
        save_video_model(tmp_path / "model", flow_bundle)
        asked = [(folder / "requirements.txt").read_text().split() for folder in (tmp_path / "model", saved)]
        assert [any(line.startswith("numba==") for line in lines) for lines in asked] == [True, False]

    def test_too_much_flow_is_a_bad_request(self, flow_bundle: Path, tmp_path: Path) -> None:
        save_video_model(tmp_path / "model", flow_bundle, limits={"max_flow_pixels": 64 * 64})
        with pytest.raises(MlflowException, match=r"video 0: \d+ pixels of flow to compute") as caught:
            load_video_model(str(tmp_path / "model")).predict(table(example_video(load_card(flow_bundle))))
        assert caught.value.get_http_status_code() == 400

    def test_it_registers(self, project: Path, flow_bundle: Path) -> None:
        register_student(flow_bundle, name="teacher", evaluation=Measured({"top1": 0.5}, "a" * 64, 12))
        served = load_video_model("models:/teacher@candidate").unwrap_python_model()
        assert served.card.flow == FLOW


class TestFiles:
    def test_nothing_is_pickled(self, saved: Path, bundle: Path) -> None:
        names = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
        assert {Path(name).suffix for name in names} <= {"", ".py", ".json", ".yaml", ".txt", ".safetensors"}
        stored = saved / "artifacts" / bundle.name
        assert (stored / "model.safetensors").read_bytes() == (bundle / "model.safetensors").read_bytes()
        assert (stored / "model.json").read_bytes() == (bundle / "model.json").read_bytes()

    def test_kineflow_is_never_fetched_from_an_index(self, saved: Path) -> None:
        requirements = (saved / "requirements.txt").read_text().split()
        assert any(line.startswith("torch==") for line in requirements)
        assert not any("kineflow" in line for line in requirements)

    def test_limits_are_stored_with_the_model(self, model: Any) -> None:
        assert model.unwrap_python_model().limits == LIMITS | {
            "max_videos": 3, "max_video_bytes": 100_000
        }  # fmt: skip


@pytest.mark.parametrize(("fields", "frames"), [(1, 9), (10, 18)])
def test_the_example_is_as_long_as_what_the_network_looks_at(fields: int, frames: int, bundle: Path) -> None:
    channels = 3 + 2 * fields
    wanted = Preprocessing("rgb_flow", 8, 1, 64, 64, (128.0,) * channels, (64.0,) * channels)
    card = dataclasses.replace(load_card(bundle), preprocessing=wanted)
    assert len(list(av.open(io.BytesIO(example_video(card))).decode(video=0))) == frames


def test_the_example_is_a_short_video_and_always_the_same(bundle: Path, tmp_path: Path) -> None:
    card = load_card(bundle)
    content = example_video(card)
    assert content == example_video(card)
    assert len(content) < 20_000
    (tmp_path / "example.mp4").write_bytes(content)
    index = index_video(tmp_path / "example.mp4")
    assert (index.status.value, index.codec, index.frames) == ("ok", "h264", 9)
