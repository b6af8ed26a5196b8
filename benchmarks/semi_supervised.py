"""What unlabelled clips teach without flow, or by flow's labels alone, against the demo's student.

Run it as ``python benchmarks/semi_supervised.py [FOLDER] [--seeds 1 2 3] [--tune 11] [--only METHOD …]``. All networks
are the demo's, from the same weights, in the same steps, on the same clips. First every setting of :data:`SETTINGS` is
trained for half of the steps, on videos and with weights of the seeds of ``--tune``, and judged on those videos' test
clips. The best of each method is then trained on the demo's videos with the weights and batches of ``--seeds``. FOLDER
keeps what is trained, so that a second call trains what is missing only; two calls with different seeds may run side by
side once the settings are tried.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from flow_tables.layout import markdown

from components.distill import distill
from components.evaluate import evaluate
from components.extract_flow import extract_flow
from components.ingest import ingest
from components.pretrain import pretrain
from components.train import train
from components.train_fixmatch import train_fixmatch
from components.train_mean_teacher import train_mean_teacher
from kineflow.comparison.repeats import Gain, Repeat, repeated
from kineflow.data.ingest_settings import IngestSettings
from kineflow.evaluation.settings import EvaluateSettings
from kineflow.flow.settings import FlowSettings
from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.spec.output_files import METRICS_FILE
from kineflow.synth.dataset import make_dataset
from kineflow.synth.spec import SynthSpec
from kineflow.training.semi_supervised.settings import FixMatchSettings, MeanTeacherSettings
from kineflow.training.settings import DistillSettings, TrainSettings

DEMO: Mapping[str, Any] = yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text())
TEACHER, PLAIN, DISTILLED, STUDENT = "teacher", "plain", "distilled", "student"
UNPERTURBED = {"colour_jitter": 0.0, "cutout": 0.0, "zoom": 0.0}
VIDEOS_SEED = 1

Method = FixMatchSettings | MeanTeacherSettings | DistillSettings


def by_flow(threshold: float, weight: float = 1.0) -> DistillSettings:
    """Pseudo-labels of the flow teacher."""
    return DistillSettings.model_validate(
        {"kd_weight": weight, "terms": [{"loss": "pseudo_label", "threshold": threshold}]}
    )


SETTINGS: Mapping[str, tuple[Method, ...]] = {
    "flow_labels": tuple(by_flow(threshold) for threshold in (0.0, 0.8)),
    "fixmatch": tuple(FixMatchSettings(threshold=threshold) for threshold in (0.95, 0.8)),
    "mean_teacher": tuple(MeanTeacherSettings(weight=weight) for weight in (10.0, 100.0)),
    "pseudo_labels": tuple(FixMatchSettings(threshold=threshold, **UNPERTURBED) for threshold in (0.95,)),
}


@dataclass(frozen=True)
class Place:
    """Where all of one seed lies: what networks learn from, which other seeds may share, and the networks by name."""

    folder: Path
    seed: int
    data: Path

    @property
    def clips(self) -> Path:
        return self.data / "clips"

    @property
    def flow(self) -> Path:
        return self.data / "flow"

    def initial(self, modality: str) -> Path:
        return self.folder / f"initial_{modality}"

    def prepare(self) -> None:
        """Make the initial weights."""
        if not self.initial("flow").is_dir():
            outputs = {name: self.initial(name) for name in ("rgb", "flow")}
            pretrain(params=PretrainSettings(**DEMO["network"]), seed=self.seed, **outputs)

    def model(self, name: str, method: Method | None = None, *, called: str = "", **changes: int) -> Path:
        """A network of the recipe, or one trained by another method; trained where it is not there yet.

        Args:
            name: Of the network.
            method: That is not the demo's.
            called: The folder and the model, where not ``name``.
            changes: Of the settings of a student.
        """
        made = self.folder / (called or name)
        if made.is_dir():
            return made
        begun = time.process_time()
        common: dict[str, Any] = {"clips": self.clips, "name": called or name, "seed": self.seed, "model": made}
        settings = TrainSettings(**{**DEMO["student"], **changes})
        if name == TEACHER:
            settings = TrainSettings(**DEMO["teacher"])
            train(flow=self.flow, initial=self.initial("flow"), params=settings, **common)
            return self._done(made, begun)
        common |= {"initial": self.initial("rgb"), "params": settings}
        match method:
            case FixMatchSettings():
                train_fixmatch(fixmatch=method, **common)
            case MeanTeacherSettings():
                train_mean_teacher(mean_teacher=method, **common)
            case _ if name == PLAIN:
                train(**common)
            case _:
                distill(
                    flow=self.flow,
                    teachers=[self.folder / TEACHER],
                    distillation=method or DistillSettings(**DEMO["distillation"]),
                    use_unlabelled=name != DISTILLED,
                    **common,
                )
        return self._done(made, begun)

    def _done(self, model: Path, begun: float) -> Path:
        print(f"seed {self.seed}, {model.name}: {time.process_time() - begun:.0f} CPU s", file=sys.stderr, flush=True)
        return model

    def evaluation(self, models: list[Path]) -> Path:
        """The models' answers to the test clips, of these alone."""
        folder = self.folder / "evaluation"
        params = EvaluateSettings(clips_per_video=1, batch_size=32, student=models[-1].name)
        names = {model.name for model in models}
        if not folder.is_dir() or names - json.loads((folder / METRICS_FILE).read_text()).keys():
            outputs = {"evaluation": folder, "report": self.folder / "report.html"}
            evaluate(clips=self.clips, flow=self.flow, models=models, params=params, **outputs)
        return folder


def tried(only: list[str], seeds: list[int], folder: Path) -> dict[str, list[tuple[Method, list[float]]]]:
    """Of each method every setting, and its accuracies."""
    half = {key: DEMO["student"][key] // 2 for key in ("steps", "validate_every_steps")}
    places = [Place(folder / f"tune{seed}", seed, data_of(seed, folder)) for seed in seeds]
    for place in places:
        place.prepare()
        place.model(TEACHER)
    found: dict[str, list[tuple[Method, list[float]]]] = {}
    for name in only:
        for number, method in enumerate(SETTINGS[name]):
            called = f"{name}_{number}"
            values = [_of_one(place, place.model(name, method, called=called, **half)) for place in places]
            found.setdefault(name, []).append((method, values))
    return found


def judged(chosen: Mapping[str, Method], seeds: list[int], folder: Path) -> str:
    """Markdown: every method over the seeds, and paired differences from the student and the plain network."""
    places = [Place(folder / f"seed{seed}", seed, data_of(VIDEOS_SEED, folder)) for seed in seeds]
    for place in places:
        place.prepare()
    models: dict[int, list[Path]] = {seed: [] for seed in seeds}
    for name in (TEACHER, STUDENT, *chosen, PLAIN, DISTILLED):
        for place in places:
            models[place.seed].append(place.model(name, chosen.get(name)))
    repeats = [Repeat(place.seed, None, place.evaluation(models[place.seed])) for place in places]
    less_student, less_plain = (repeated(repeats, baseline=name) for name in (STUDENT, PLAIN))
    differences = [
        {each.model: _points(each.over_all) for each in found.differences} for found in (less_student, less_plain)
    ]
    rows = [
        [row.name, _spread(row.figures["top1"].values), *(found.get(row.name, "") for found in differences)]
        for row in less_student.rows
    ]
    header = ["network", "top-1, %", "less the student, points", "less plain, points"]
    note = f"Seeds {', '.join(map(str, seeds))}: mean ± s.d.; 95 % intervals."
    return markdown("Unlabelled clips", header, rows, note)


def _of_one(place: Place, model: Path) -> float:
    folder = place.folder / "tried" / model.name
    params = EvaluateSettings(clips_per_video=1, batch_size=32, student=model.name)
    if not folder.is_dir():
        outputs = {"evaluation": folder, "report": place.folder / "tried" / f"{model.name}.html"}
        evaluate(clips=place.clips, models=[model], params=params, **outputs)
    figures = json.loads((folder / METRICS_FILE).read_text())
    return float(figures[model.name]["top1"])


def data_of(seed: int, folder: Path) -> Path:
    """The demo's videos of a seed, as ``videos``, ``clips`` and ``flow``; what is there is not made again."""
    data = folder / f"data{seed}"
    videos, clips, flow = (data / name for name in ("videos", "clips", "flow"))
    if not videos.is_dir():
        make_dataset(videos, SynthSpec(), seed=seed, workers=1)
    if not clips.is_dir():
        ingest(params=IngestSettings(**{**DEMO["ingestion"], "source": str(videos)}), clips=clips)
    if not flow.is_dir():
        extract_flow(clips=clips, params=FlowSettings(**DEMO["flow"]), flow=flow)
    return data


def _spread(values: list[float] | tuple[float, ...]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation}"


def _points(gain: Gain) -> str:
    between = "" if gain.low is None or gain.high is None else f" ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return f"{100 * gain.value:+.1f}{between}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Ways to learn from unlabelled clips, against the demo's student.")
    parser.add_argument("folder", nargs="?", type=Path, help="that keeps all; a temporary one by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="SEED")
    parser.add_argument("--tune", nargs="+", type=int, default=[11], metavar="SEED", help="of videos and of weights")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="of the methods")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        found = tried(given.only, given.tune, folder)
        rows = [[name, method.described(), _spread(values)] for name in found for method, values in found[name]]
        note = f"Half of the steps; videos and weights of {', '.join(map(str, given.tune))}."
        print(markdown("Settings", ["network", "setting", "top-1, %"], rows, note), flush=True)
        chosen = {name: max(each, key=lambda row: sum(row[1]))[0] for name, each in found.items()}
        print(judged(chosen, given.seeds, folder), flush=True)


if __name__ == "__main__":
    main()
