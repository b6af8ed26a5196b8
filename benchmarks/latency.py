"""What an answer costs: a student that sees RGB alone, against two streams with their flow counted in.

Run it as ``python benchmarks/latency.py [--quick] [--json FILE] [--demo PROJECT]``. CPU time on one thread; forms take
turns within a round, and each figure is a median of rounds. Clips are decoded from a rendered video. Weights are drawn,
but for the demo's size with ``--demo``: a project in which the demo has run, whose student and teacher are taken then,
and whose test clips say how often a form's best class is that of the network as it was trained.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import torch
from flow_tables.layout import markdown
from flow_tables.machine import machine
from latency_tables.cases import CASES, Case, decoded, flow_of, rendered_video
from latency_tables.forms import Logits, forms
from timing import medians

from kineflow.exporting.clip_classifier import ClipClassifier, random_clips

STREAMS = {"RGB": 3, "flow": 2}
_BOUND_PX = 20.0


def measured(case: Case, rounds: int, demo: Path | None) -> dict[str, Any]:
    """Milliseconds of CPU time of the parts of an answer, and of each form of both networks."""
    bundles = trained(demo) if demo is not None and case.name.endswith("demo") else {}
    networks: dict[str, Any] = {}
    for stream, channels in STREAMS.items():
        print(f"{case.name}: {stream}", file=sys.stderr, flush=True)
        classifier = case.classifier(channels, bundles.get(stream))
        with tempfile.TemporaryDirectory() as folder:
            ready = forms(classifier, Path(folder))
            networks[stream] = of_network(classifier, ready, case.batch, rounds)
            if stream == "RGB" and demo is not None and bundles:
                for form, share in agreement(classifier, ready, demo).items():
                    networks[stream][form] |= share
    with rendered_video(case.stored) as video:
        at = list(range(0, 24 - case.snippet, (24 - case.snippet) // case.frames))[: case.frames]
        rgb = case.classifier(3, bundles.get("RGB")).preprocessing
        flow = case.classifier(2, bundles.get("flow")).preprocessing
        flow_at = sorted({frame + step for frame in at for step in range(case.snippet)})
        parts = {
            "decode": cpu_ms(lambda: decoded(video, at, rgb), rounds),
            "flow": cpu_ms(lambda: flow_of(video, flow_at, flow, case.preset, _BOUND_PX), rounds),
        }
    return {
        "case": case.name, "frames": case.frames, "side": case.side, "batch": case.batch, "preset": case.preset,
        "flow_frames": len(flow_at), "trained": bool(bundles), "parts_ms": parts, "networks": networks,
    }  # fmt: skip


def of_network(
    classifier: ClipClassifier, ready: Mapping[str, Logits], batch: int, rounds: int
) -> dict[str, dict[str, float]]:
    one, many = (random_clips(classifier.preprocessing, count) for count in (1, batch))
    timed = {name: lambda _, clips, form=form: form(clips) for name, form in ready.items()}
    latency, of_batch = (medians(timed, classifier, clips, learn=False, repeats=rounds) for clips in (one, many))
    with torch.no_grad():
        answers = {name: form(many) for name, form in ready.items()}
    size = answers["eager"].abs().max()
    return {
        name: {
            "latency_ms": 1000 * latency[name],
            "clips_per_cpu_s": batch / of_batch[name],
            "difference": float((answers[name] - answers["eager"]).abs().max() / size),
        }
        for name in ready
    }


def trained(project: Path) -> dict[str, Path]:
    outputs = project / "outputs"
    return {"RGB": outputs / "student" / "model", "flow": outputs / "teacher" / "model"}


def agreement(classifier: ClipClassifier, ready: Mapping[str, Logits], project: Path) -> dict[str, dict[str, float]]:
    """Shares of the test clips: same best class as eager, and right."""
    from kineflow.models.card import load_card

    classes = load_card(trained(project)["RGB"]).classes
    with (project / "data" / "clips.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    labels = torch.tensor([classes.index(row["label"]) for row in rows])
    best: dict[str, list[int]] = {name: [] for name in ready}
    frames = list(range(classifier.preprocessing.frames))
    for row in rows:
        clip = decoded(project / "data" / row["path"], frames, classifier.preprocessing)
        with torch.no_grad():
            for name, form in ready.items():
                best[name].append(int(form(clip).argmax()))
    found = {name: torch.tensor(numbers) for name, numbers in best.items()}
    return {
        name: {
            "test_clips": float(len(rows)),
            "same_class": float((numbers == found["eager"]).float().mean()),
            "top1": float((numbers == labels).float().mean()),
        }
        for name, numbers in found.items()
    }


def cpu_ms(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        work()
        taken.append(1000 * (time.process_time() - begun))
    return statistics.median(taken[1:])  # the first compiles


def networks_table(results: list[dict[str, Any]]) -> str:
    rows = []
    for result in results:
        for stream, of_forms in result["networks"].items():
            for form, figures in of_forms.items():
                agreed = f"{figures['same_class']:.1%}, {figures['top1']:.1%}" if "top1" in figures else ""
                rows.append(
                    [result["case"], stream, form, f"{figures['latency_ms']:.1f}", f"{figures['clips_per_cpu_s']:.1f}",
                     f"{figures['difference']:.0e}", agreed]
                )  # fmt: skip
    header = ["network", "stream", "form", "one clip (ms)", "clips a CPU s", "difference", "same class, top-1"]
    return markdown("The network alone", header, rows, "Difference: the greatest, by the greatest logit.")


def answers_table(results: list[dict[str, Any]]) -> str:
    rows = []
    for result in results:
        decode, flow = (result["parts_ms"][part] for part in ("decode", "flow"))
        for form in next(iter(result["networks"].values())):
            rgb, motion = (result["networks"][stream][form]["latency_ms"] for stream in STREAMS)
            student, both = decode + rgb, decode + flow + rgb + motion
            rows.append(
                [result["case"], form, f"{decode:.1f}", f"{flow:.1f} ({result['preset']})", f"{student:.1f}",
                 f"{both:.1f}", f"{1000 / student:.1f}", f"{1000 / both:.1f}", f"{both / student:.1f}x"]
            )  # fmt: skip
    header = [
        "network", "form", "decode (ms)", "flow (ms)", "student (ms)", "two streams (ms)", "student, clips a CPU s",
        "two streams", "student gains",
    ]  # fmt: skip
    note = "Student: decoding and its network. Two streams: decoding, TV-L1, both networks."
    return markdown("An answer to one clip", header, rows, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the demo's size alone, and fewer rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--demo", type=Path, metavar="PROJECT", help="project of a run of the demo")
    given = parser.parse_args()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger().setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    results = []
    for case in CASES[:1] if given.quick else CASES:
        results.append(measured(case, 3 if given.quick else 7, given.demo))
        if given.json:  # after each, for all of them take a while
            given.json.write_text(json.dumps({"machine": machine(), "cases": results}, indent=1) + "\n")
    print("\n".join([answers_table(results), networks_table(results)]))


if __name__ == "__main__":
    main()
