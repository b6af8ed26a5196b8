"""From a bundle to a file that runs without Kineflow, checked against the bundle before it is kept."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kineflow.data.transforms import normalise, to_tensor
from kineflow.exporting.clip_classifier import ClipClassifier, random_clips
from kineflow.exporting.description import described
from kineflow.exporting.formats import DESCRIPTION_FILE, EXPORT_FILES, ExportFormat
from kineflow.exporting.onnx_file import OPSET, require_onnx, run_onnx, write_onnx
from kineflow.exporting.torch_file import run_program, write_program
from kineflow.exporting.tracing import traced
from kineflow.models.bundle import load_bundle
from kineflow.serving.predict import require_classes
from kineflow.serving.tested import TESTED_FILE, AsTested, read_tested
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_folder

TOLERANCE = 1e-4
"""Relative and absolute: how far the exported network's logits and probabilities may be from the bundle's."""

_CHECKED_CLIPS = (1, 2)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Export:
    """An exported model.

    Attributes:
        file: The network; its description lies beside it.
        description: What the description holds.
    """

    file: Path
    description: dict[str, Any]


def export_model(bundle: Path, folder: Path, to: ExportFormat, tested: AsTested | None = None) -> Export:
    """Export a model, with normalisation before it and probabilities behind it; the folder is whole or absent.

    Args:
        bundle: Of the model, see :mod:`kineflow.models.bundle`.
        folder: Where the network and its description are put; what another export has left there is replaced.
        to: ``onnx``, or ``torch`` for an exported program.
        tested: How the model was tested; None: as a file beside the bundle says, if there is one.

    Raises:
        KineflowError: The model has no classes, its network cannot be exported, or answers otherwise as a file; the
            folder holds other things; or the packages for ONNX are missing.
    """
    _require_own(folder)
    if to == "onnx":
        require_onnx()
    network, card = load_bundle(bundle)
    require_classes(card)
    classifier = ClipClassifier(network, card.preprocessing, multi_label=card.multi_label)
    classifier.requires_grad_(False).eval()
    try:
        with _quiet(), atomic_folder(folder) as partial:
            _LOG.info("%s: trace", card.name)
            program = traced(classifier)
            file = partial / EXPORT_FILES[to]
            _LOG.info("%s: write %s", card.name, file.name)
            (write_onnx if to == "onnx" else write_program)(program, file)
            _LOG.info("%s: compare with the bundle", card.name)
            difference = _checked(classifier, file, to)
            opset = OPSET if to == "onnx" else None
            tested = tested or read_tested(bundle / TESTED_FILE)
            description = described(card, bundle, file, to, opset=opset, difference=difference, tested=tested)
            text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
            (partial / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")
    except KineflowError as error:
        raise KineflowError(
            error.problem, where=error.where or f"model {card.name!r} ({card.architecture})", remedy=error.remedy
        ) from error
    return Export(folder / file.name, description)


def _require_own(folder: Path) -> None:
    """Check that nothing but an export would be replaced."""
    if folder.is_file():
        raise KineflowError("a file", where=folder, remedy="name a new folder")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise KineflowError("the working folder is in it", where=folder, remedy="name a new folder, such as ./exported")
    if not folder.is_dir():
        return
    others = sorted({path.name for path in folder.iterdir()} - {DESCRIPTION_FILE, *EXPORT_FILES.values()})
    if others:
        raise KineflowError(
            f"the folder holds other things, {others[0]!r} among them", where=folder, remedy="name a new folder"
        )


def _checked(classifier: ClipClassifier, file: Path, to: ExportFormat) -> float:
    """The greatest difference between a file's outputs and those of the network that it is of.

    Raises:
        KineflowError: It is beyond the tolerance.
    """
    greatest = 0.0
    for count in _CHECKED_CLIPS:
        clips = random_clips(classifier.preprocessing, count)
        outputs = (run_onnx if to == "onnx" else run_program)(file, clips)
        for output, wanted in zip(outputs, _eager(classifier, clips), strict=True):
            difference = float((output - wanted).abs().max())
            if not torch.allclose(output, wanted, rtol=TOLERANCE, atol=TOLERANCE):
                raise KineflowError(
                    f"as {to}, the network's outputs differ from its own by {difference:.2g}",
                    remedy="export it to the other form, or run the bundle itself",
                )
            greatest = max(greatest, difference)
    return greatest


def _eager(classifier: ClipClassifier, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and probabilities as kineflow predict computes them: clip by clip, from arrays as they are read."""
    prepared = [normalise(to_tensor(clip), classifier.preprocessing) for clip in clips.numpy()]
    with torch.inference_mode():
        logits: Tensor = classifier.network(torch.stack(prepared))
    return logits, classifier.probabilities(logits)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters say about packages that are not there, and about themselves."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
