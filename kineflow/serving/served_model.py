"""A bundle as an MLflow model: raw video bytes in, class scores out. Imports MLflow, so import it where that is wanted.

Over HTTP (``kineflow serve models:/NAME@champion``) a video is a base64 string::

    curl -H 'Content-Type: application/json' http://localhost:5000/invocations \\
         -d '{"dataframe_records": [{"video": "AAAAIGZ0eXBpc29t…"}], "params": {"topk": 3}}'

In Python::

    model = load_video_model("models:/d3d@champion")
    model.predict(pandas.DataFrame({"video": [Path("clip.mp4").read_bytes()]}))

A string never names a file: whoever may send a request may not read the server's disk.

A network that takes flow computes it from the video (:mod:`kineflow.flow.flow_of_video`), on the device that it runs on
itself. A CPU core takes about 0.6 s for a million pixels of flow, and nine times as long where scenes are cut.
``kineflow serve`` gives up after 60 s a request unless its ``--timeout`` says otherwise.
"""

from __future__ import annotations

import binascii
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property

from kineflow.evaluation.view_protocol import MOST_WINDOWS, ViewProtocol, centre_views
from kineflow.models.bundle import load_bundle
from kineflow.models.card import load_card
from kineflow.serving.predict import flow_source, predict_video, require_classes
from kineflow.serving.served_requirements import constraints, requirements
from kineflow.serving.stored_files import MODEL_PREFIX, checked_bundle, find_version
from kineflow.serving.tested import TESTED_FILE, UNTESTED, AsTested, read_tested
from kineflow.serving.trial import example_video
from kineflow.storage.config import read_yaml
from kineflow.storage.errors import KineflowError

TOPK = 5
LIMITS = {
    "max_videos": 16,  # in one request
    "max_windows": 3_000,  # of a video, for a model that was tested by all of them: two minutes at 25 frames per second
    "max_video_bytes": 64 * 1024 * 1024,
    "max_video_frames": 18_000,  # ten minutes at 30 frames per second
    "max_frame_pixels": 4096 * 2304,
    "max_video_pixels": 2**34,  # of a request, shared by its videos: ten minutes of 1280x720 px at 30 frames per second
    "max_flow_pixels": 100_000_000,  # of a video, for networks that take flow: ten windows of 64 frames of 455x256
    "max_seconds": 600,  # after which no further video of a request is begun
}

# A small file may hold hours of black, which take as long to decode as anything else. What is decoded is bounded by its
# bytes too: 8 s of 1920x1080 px at 30 frames per second, and eighty times what a usual video has for every byte.
_PIXELS_OF_ANY_VIDEO = 2**29
_PIXELS_A_BYTE = 2**13

_BUNDLE, _TESTED = "bundle", "tested"
_TOPK, _CLIPS = "topk", "clips"
_MLMODEL = "MLmodel"


class VideoClassifier(PythonModel):
    """Answers one row per video: ``label``, ``score``, ``top`` and ``probabilities``.

    It sees the windows and crops by which it was tested, or as few windows as a request asks for.
    """

    def load_context(self, context: Any) -> None:
        """Load the bundle that was stored with the model."""
        self.network, self.card = load_bundle(Path(context.artifacts[_BUNDLE]))
        self.tested = read_tested(Path(context.artifacts[_TESTED])) if _TESTED in context.artifacts else None
        self.views = self.tested.views if self.tested else UNTESTED
        self.limits = LIMITS | {name: int(value) for name, value in (context.model_config or {}).items()}

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify videos.

        Args:
            context: Not used.
            model_input: A table with a column ``video``: bytes, base64 text, or a :class:`pathlib.Path` (which no
                request can hold). Called on the unwrapped model, also the bytes or the path of one video; there, text
                is a path.
            params: ``topk``: how many classes ``top`` lists. ``clips``: how many windows are seen, the centre of each,
                in place of what the model was tested by; at most as many as that has; 0 for that itself.

        Returns:
            A table with a row per video: ``label`` and ``score`` of the best class, ``top`` (the best ``topk``, each a
            label and a score), and ``probabilities`` by class, which add up to 1 unless the model has ``multi_label``.

        Raises:
            MlflowException: A video cannot be used, with its place and the reason (HTTP status 400).
        """
        topk = _whole_number(params or {}, _TOPK, TOPK, at_least=1)
        views = self._views(_whole_number(params or {}, _CLIPS, 0, at_least=0))
        videos = _videos(model_input)
        if len(videos) > self.limits["max_videos"]:
            raise MlflowException.invalid_parameter_value(
                f"{len(videos)} videos in one request; at most {self.limits['max_videos']} are taken"
            )
        begun, rows = time.monotonic(), []
        share = self.limits["max_video_pixels"] // max(1, len(videos))
        for number, video in enumerate(videos):
            if number and time.monotonic() - begun > self.limits["max_seconds"]:
                raise MlflowException.invalid_parameter_value(
                    f"{number} of {len(videos)} videos took the {self.limits['max_seconds']} s that a request may take"
                )
            rows.append(self._row(number, video, topk, views, share))
        return pd.DataFrame(rows)

    def _views(self, clips: int) -> ViewProtocol:
        most = MOST_WINDOWS if self.views.windows == "dense" else self.views.clips_per_video
        if clips > most:
            raise MlflowException.invalid_parameter_value(f"clips is {clips}; the model sees {most} windows at most")
        return centre_views(clips) if clips else self.views

    def _row(self, number: int, video: Any, topk: int, views: ViewProtocol, max_pixels: int) -> dict[str, Any]:
        try:
            content = _checked(video, self.limits["max_video_bytes"])
            probabilities = predict_video(
                content,
                self.network,
                self.card,
                views=views,
                max_windows=self.limits["max_windows"],
                max_frames=self.limits["max_video_frames"],
                max_pixels=self.limits["max_frame_pixels"],
                max_video_pixels=min(max_pixels, _PIXELS_OF_ANY_VIDEO + _PIXELS_A_BYTE * _size(content)),
                max_flow_pixels=self.limits["max_flow_pixels"],
            )
        except KineflowError as error:  # its place is a temporary file, which tells a client nothing
            raise MlflowException.invalid_parameter_value(f"video {number}: {error.problem}") from None
        return scored_row(probabilities, self.card.classes, topk)


def scored_row(probabilities: np.ndarray, classes: Sequence[str], topk: int) -> dict[str, Any]:
    """What is answered for one video with float32 ``[K]`` probabilities."""
    best = np.argsort(-probabilities, kind="stable")[:topk]
    top = [{"label": classes[index], "score": float(probabilities[index])} for index in best]
    by_class = dict(zip(classes, map(float, probabilities), strict=True))
    return {**top[0], "top": top, "probabilities": by_class}


def video_signature() -> ModelSignature:
    """A binary column ``video`` in; label, score, top and probabilities out; the parameters ``topk`` and ``clips``."""
    scored = Object([Property("label", DataType.string), Property("score", DataType.double)])
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.double, "score"),
        ColSpec(Array(scored), "top"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "video")]),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec(_TOPK, DataType.long, TOPK), ParamSpec(_CLIPS, DataType.long, 0)]),
    )


def save_video_model(
    folder: Path,
    bundle: Path,
    *,
    mlflow_model: Model | None = None,
    limits: Mapping[str, int] | None = None,
    example: bytes | None = None,
    with_example: bool = True,
    tested: AsTested | None = None,
) -> None:
    """Write a bundle as an MLflow model: plain files and the bundle's safetensors, nothing pickled.

    Args:
        folder: Where to; must not exist.
        bundle: See :mod:`kineflow.models.bundle`.
        mlflow_model: Identity under which a store knows the model.
        limits: Changes to :data:`LIMITS`.
        example: Bytes of a video, stored as the input example; a tiny one is made when None.
        with_example: Store an input example, which MLflow tries.
        tested: How it was tested, and so will answer; None where nobody knows.

    Raises:
        KineflowError: The bundle is damaged, has no classes, or takes flow and does not say how that was computed.
    """
    card = load_card(bundle)
    require_classes(card)
    takes_flow = flow_source(card) is not None
    tried = pd.DataFrame({"video": [example or example_video(card)]}) if with_example else None
    with tempfile.TemporaryDirectory() as name, _no_bytecode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*input example was not provided")
        beside, artifacts = Path(name), {_BUNDLE: str(bundle)}
        if tested is not None:
            tested.save(beside / TESTED_FILE)
            artifacts[_TESTED] = str(beside / TESTED_FILE)
        pins = beside / "constraints.txt"
        lines = constraints(takes_flow=takes_flow, architecture=card.architecture)
        pins.write_text("\n".join(lines) + "\n", encoding="utf-8")
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(Path(__file__).with_name("video_pyfunc.py")),
            artifacts=artifacts,
            signature=video_signature(),
            input_example=tried,
            pip_requirements=[*requirements(takes_flow=takes_flow, architecture=card.architecture), f"-c {pins}"],
            model_config={**LIMITS, **(limits or {})},
            mlflow_model=mlflow_model,
        )


def latency_ms(folder: Path, video: bytes) -> float:
    """Time that a model which :func:`save_video_model` wrote takes to answer to one video, decoding and flow included.

    Returns:
        Milliseconds on the device that it is served on, the median of three.
    """
    with _no_bytecode():
        model, table = mlflow.pyfunc.load_model(str(folder)), pd.DataFrame({"video": [video]})
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            model.predict(table)
            times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Let imports leave no compiled code beside what they import: a stored model holds what was written and no more."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def load_video_model(uri: str, *, root: Path | None = None) -> Any:
    """Load a stored model for prediction. Nothing that is stored with it is run: only its bundle is taken.

    Args:
        uri: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or a folder that :func:`save_video_model` wrote.
        root: The project's folder, where the SQLite store lies by default.

    Returns:
        An ``mlflow.pyfunc.PyFuncModel``; ``unwrap_python_model()`` gives the :class:`VideoClassifier`.

    Raises:
        KineflowError: There is no such model, or its files are not those that were registered.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "model"
        write_local_model(uri, local, root=root)
        with _no_bytecode():
            return mlflow.pyfunc.load_model(str(local))


def write_local_model(uri: str, folder: Path, *, root: Path | None = None) -> AsTested | None:
    """Write a stored model anew, by the code of this package: for servers that run what lies beside a bundle.

    Args:
        uri: As :func:`load_video_model`.
        folder: Where to; must not exist.
        root: The project's folder, where the SQLite store lies by default.

    Returns:
        How it was tested; None where nobody knows.

    Raises:
        KineflowError: There is no such model, or its files are not those that were registered.
    """
    if uri.startswith(MODEL_PREFIX):
        version = find_version(uri, root=root)
        identity = version.tags.get("model_id")
        known = Model(model_id=identity, model_uuid=identity, run_id=version.tags.get("run_id")) if identity else None
        with checked_bundle(version) as bundle:
            tested = read_tested(bundle / TESTED_FILE)
            save_video_model(folder, bundle, mlflow_model=known, with_example=False, tested=tested)
        return tested
    described = read_yaml(Path(uri) / _MLMODEL).get("flavors", {}).get("python_function", {})
    kept = described.get("config", {}) if isinstance(described, Mapping) else {}
    limits = {name: int(kept[name]) for name in LIMITS if isinstance(kept.get(name), int)}
    bundles = [path for path in sorted((Path(uri) / "artifacts").glob("*")) if path.is_dir()]
    if len(bundles) != 1:
        raise KineflowError(f"{len(bundles)} bundles in a model", where=uri, remedy="give what save_video_model wrote")
    tested = read_tested(bundles[0].with_name(TESTED_FILE))
    save_video_model(folder, bundles[0], limits=limits, with_example=False, tested=tested)
    return tested


def _videos(given: Any) -> list[Any]:
    """The videos of a request; of the unwrapped model's caller, who may name a file as text too."""
    match given:
        case pd.DataFrame() if "video" in given:
            return list(given["video"])
        case str():
            return [Path(given)]
        case bytes() | Path():
            return [given]
    raise MlflowException.invalid_parameter_value(
        "a table with a column 'video' of bytes or base64 text is expected, or the bytes or the path of one video"
    )


def _checked(video: Any, max_bytes: int) -> bytes | Path:
    if isinstance(video, str) and len(video) > 2 * max_bytes:  # base64 takes a third more, and may have line breaks
        raise KineflowError(f"{len(video)} characters; videos of 1 to {max_bytes} bytes are taken")
    content = _from_base64(video) if isinstance(video, str) else video
    if not isinstance(content, bytes | Path):
        raise KineflowError(f"bytes are expected, not {type(content).__name__}")
    if isinstance(content, Path) and not content.is_file():
        raise KineflowError(f"no such file: {content}")
    size = _size(content)
    if not 0 < size <= max_bytes:
        raise KineflowError(f"{size} bytes; 1 to {max_bytes} are taken")
    return content


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _whole_number(params: Mapping[str, Any], name: str, default: int, *, at_least: int) -> int:
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise MlflowException.invalid_parameter_value(f"{name} must be a whole number")
    if value < at_least:
        raise MlflowException.invalid_parameter_value(f"{name} must be at least {at_least}, not {value}")
    return int(value)


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)  # base64 would copy the text first
    except (binascii.Error, ValueError) as error:
        raise KineflowError(f"not base64 text: {error}") from None
