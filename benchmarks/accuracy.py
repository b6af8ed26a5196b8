"""What faster choices cost in accuracy: the demo's networks trained with each, over several seeds.

Run it as ``python benchmarks/accuracy.py [FOLDER] [--seeds 1 2 3] [--only flow stored precision]``; FOLDER keeps what
is trained, so that a second call trains what is missing only. A choice changes one thing of the demo: the preset of
flow (the flow network alone is trained); the form of stored clips, of former releases and today's (the demo's own
videos need no encoding, and are encoded here all the same); or the precision that networks are trained in. Seeds
are those of weights, batches and splits; the videos are the demo's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from flow_tables.layout import markdown

from components.distill import distill
from components.evaluate import evaluate
from components.extract_flow import extract_flow
from components.ingest import ingest
from components.pretrain import pretrain
from components.train import train
from kineflow.data.ingest_settings import IngestSettings
from kineflow.evaluation.settings import EvaluateSettings
from kineflow.flow.settings import FlowSettings
from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.spec.output_files import METRICS_FILE
from kineflow.synth.dataset import make_dataset
from kineflow.synth.spec import SynthSpec
from kineflow.training.settings import DistillSettings, TrainSettings

DEMO = Path(__file__).parent.parent / "params.yaml"
TEACHER, PLAIN, STUDENT = "teacher", "plain", "student"


@dataclass(frozen=True)
class Choice:
    """What differs from the demo.

    Attributes:
        name: Of the choice; of its folder too.
        networks: Which networks are trained.
        preset: Of flow; None: the demo's.
        x264: Preset, tune and crf that clips are encoded with; None: as they are, since nothing asks for encoding.
        precision: Of training.
    """

    name: str
    networks: tuple[str, ...]
    preset: str | None = None
    x264: tuple[str, str | None, int] | None = None
    precision: str = "32"


@dataclass(frozen=True)
class Question:
    """Choices that are compared, the first of which is what the others are compared with."""

    title: str
    choices: tuple[Choice, ...]


NOW = Choice("demo", (TEACHER, PLAIN, STUDENT))
QUESTIONS = {
    "flow": Question(
        "Flow's preset",
        (NOW, *(Choice(preset, (TEACHER,), preset=preset) for preset in ("deep", "capped", "opencv"))),
    ),
    "stored": Question(
        "The form of stored clips",
        (
            Choice("veryfast-18", (TEACHER, PLAIN), x264=("veryfast", None, 18)),
            Choice("medium-fastdecode-20", (TEACHER, PLAIN), x264=("medium", "fastdecode", 20)),
            Choice("demo", (TEACHER, PLAIN)),
        ),
    ),
    "precision": Question("Precision", (NOW, Choice("bf16", (TEACHER, PLAIN, STUDENT), precision="bf16"))),
}


@contextmanager
def stored_as(x264: tuple[str, str | None, int] | None) -> Iterator[dict[str, int]]:
    """Clips are encoded so; what that changes in the settings of ``ingest``."""
    if x264 is None:
        yield {}
        return
    preset, tune, crf = x264
    always = {"_PRESET": preset, "_TUNE": tune, "is_copied": lambda *_: False}
    with patch.multiple("kineflow.video.store", **always):
        yield {"crf": crf}


def top1(choice: Choice, seed: int, folder: Path) -> dict[str, float]:
    """Top-1 accuracy on ``test`` of a choice's networks; what is there already is not made again."""
    place = folder / choice.name / str(seed)
    figures = place / "evaluation" / METRICS_FILE
    if not figures.is_file():
        _train(choice, seed, folder / "data", place)
    read = json.loads(figures.read_text())
    return {name: read[name]["top1"] for name in choice.networks}


def _train(choice: Choice, seed: int, videos: Path, place: Path) -> None:
    params = _params(choice)
    clips, flow, initial = (
        place / "clips",
        place / "flow",
        {name: place / f"initial_{name}" for name in ("rgb", "flow")},
    )
    with stored_as(choice.x264) as form:
        ingestion = IngestSettings(**{**params["ingestion"], "source": str(videos), **form})
        ingest(params=ingestion, seed=seed, clips=clips)
    extract_flow(clips=clips, params=FlowSettings(**params["flow"]), flow=flow)
    pretrain(params=PretrainSettings(**params["network"]), seed=seed, **initial)
    student = TrainSettings(**params["student"])
    models = {name: place / name for name in choice.networks}
    for name, model in models.items():
        common = {"clips": clips, "name": name, "seed": seed, "model": model}
        if name == TEACHER:
            train(flow=flow, initial=initial["flow"], params=TrainSettings(**params["teacher"]), **common)
        elif name == PLAIN:
            train(initial=initial["rgb"], params=student, **common)
        else:
            taught = {"teachers": [models[TEACHER]], "distillation": DistillSettings(**params["distillation"])}
            distill(flow=flow, initial=initial["rgb"], params=student, use_unlabelled=True, **taught, **common)
    settings = EvaluateSettings(clips_per_video=1, batch_size=32, student=next(reversed(models)))
    outputs = {"evaluation": place / "evaluation", "report": place / "report.html"}
    evaluate(clips=clips, flow=flow, models=list(models.values()), params=settings, **outputs)


def _params(choice: Choice) -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load(DEMO.read_text())
    if choice.preset:
        params["flow"]["preset"] = choice.preset
    for section in ("teacher", "student"):
        params[section]["precision"] = choice.precision
    return params


def table(question: Question, seeds: list[int], folder: Path) -> str:
    """Markdown: a row a choice and network, mean and deviation, and the paired difference from the first choice."""
    found = {choice.name: [top1(choice, seed, folder) for seed in seeds] for choice in question.choices}
    base, rows = found[question.choices[0].name], []
    for choice in question.choices:
        for name in choice.networks:
            values = [100 * figures[name] for figures in found[choice.name]]
            differences = [value - 100 * figures[name] for value, figures in zip(values, base, strict=True)]
            paired = "" if choice is question.choices[0] else _spread(differences, sign="+")
            rows.append([choice.name, name, _spread(values), paired])
    header = ["choice", "network", "top-1, %", "difference, points"]
    return markdown(question.title, header, rows, f"{len(seeds)} seeds: mean ± s.d.; differences of the same seeds.")


def _spread(values: list[float], sign: str = "") -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.1f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description="What faster choices cost in accuracy.")
    parser.add_argument("folder", nargs="?", type=Path, help="that keeps all; a temporary one by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="SEED")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        if not (folder / "data").is_dir():
            make_dataset(folder / "data", SynthSpec(), seed=1, workers=2)
        for name in given.only:
            print(table(QUESTIONS[name], given.seeds, folder), flush=True)


if __name__ == "__main__":
    main()
