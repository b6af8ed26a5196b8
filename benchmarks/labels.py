"""What suggested labels are worth against random ones, and how well planted wrong labels are found.

Run it as ``python benchmarks/labels.py [FOLDER] [--seeds 1 2 3]``. Of each seed a controlled set is rendered (30 groups
to draw labels from, 15 that judge, 16 clips each), flow and descriptions are computed once, and FOLDER keeps them.
Then, from 16 random labels on, five times 16 more are asked for and the recipe few_clips chooses a model anew; from
three beginnings each. The pool is as it was rendered, or rare: of some classes it has a sixteenth of the clips only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flow_tables.layout import markdown
from numpy.typing import NDArray

from components.describe import describe
from components.extract_flow import extract_flow
from components.ingest import ingest
from components.pretrain_descriptor import pretrain_descriptor
from kineflow.data.ingest_settings import IngestSettings
from kineflow.evaluation.baselines.classifier import one_thread
from kineflow.evaluation.scores import softmax
from kineflow.flow.settings import FlowSettings
from kineflow.labelling.label_errors import suspected_labels
from kineflow.labelling.ranking import Clips, rank_clips
from kineflow.models.bundle import load_bundle
from kineflow.models.clip_descriptor import ClipDescriptor
from kineflow.models.descriptor_settings import DescriptorSettings
from kineflow.selection.described import Described
from kineflow.selection.description import blocks_of, read_described
from kineflow.selection.judging import choose, judge_by_folds
from kineflow.selection.linear import Whitening, joined
from kineflow.selection.settings import DescribeSettings, SelectSettings
from kineflow.sets.clip_set import ClipSet
from kineflow.sets.feature_set import FeatureSet
from kineflow.spec.split import Split
from kineflow.synth.dataset import make_dataset
from kineflow.synth.spec import GroupCounts, SynthSpec

STEP, ROUNDS, STARTS = 16, 6, 3
LEAST_SHARE = 1 / 16
LABELLED, WRONG = 160, 16
# Fewer than the recipe's, which takes four times as long and orders strategies alike.
STRENGTHS, FOLDS, MEMBERS = (1.0, 10.0), 3, 3

Places = NDArray[np.int64]
Ask = Callable[[Clips, int, np.random.Generator], Places]


def suggested(clips: Clips, count: int, _: np.random.Generator) -> Places:
    return np.array([choice.place for choice in rank_clips(clips, count)])


def at_random(clips: Clips, count: int, rng: np.random.Generator) -> Places:
    return rng.choice(np.flatnonzero(clips.labels < 0), count, replace=False)


@dataclass(frozen=True)
class Data:
    """A set whose clips are described, and families that its groups of descriptors make."""

    pool: Described
    test: Described
    classes: tuple[str, ...]
    families: list[tuple[str, ...]]


def prepare(folder: Path, seed: int) -> Data:
    """Render, ingest, describe; what is there already is left as it is."""
    spec = SynthSpec(groups=GroupCounts(train=30, val=1, test=15, unlabelled=0))
    make_dataset(folder / "data", spec, seed=seed, workers=2)
    clips, flow, descriptor, descriptions = (folder / name for name in ("clips", "flow", "descriptor", "descriptions"))
    if not descriptions.exists():
        ingest(params=IngestSettings(source=str(folder / "data"), short_side=64), clips=clips)
        extract_flow(clips=clips, params=FlowSettings(preset="fast", bound_px=5.0), flow=flow)
        pretrain_descriptor(params=DescriptorSettings(frames=12, crop=64), descriptor=descriptor)
        describe(clips=clips, flow=flow, descriptor=descriptor, params=DescribeSettings(), descriptions=descriptions)
    clip_set, features = ClipSet.load(clips), FeatureSet.load(descriptions)
    network, _ = load_bundle(descriptor)
    assert isinstance(network, ClipDescriptor)
    blocks = blocks_of(network)
    families = [
        family
        for name in SelectSettings.model_validate({}).families
        if set(family := tuple(name.split("+"))) <= set(blocks)
    ]
    pool, test = (read_described(features, clip_set.usable(of), clip_set, blocks) for of in (Split.TRAIN, Split.TEST))
    return Data(pool, test, clip_set.classes, families)


def rare(pool: Described, rng: np.random.Generator) -> Described:
    """A pool of which classes have fewer and fewer clips, in an order that the seed decides."""
    shares = LEAST_SHARE ** np.linspace(0, 1, pool.classes)[rng.permutation(pool.classes)]
    return pool.subset(np.flatnonzero(rng.random(len(pool)) < shares[pool.labels]))


def curve(data: Data, pool: Described, ask: Ask, seed: int) -> list[float]:
    """Accuracy on the test clips with 16, 32, … labels."""
    rng = np.random.default_rng(seed)
    whitening = joined([Whitening.of(pool.columns([group]), pool.row_weights) for group in pool.blocks])
    seen = whitening.apply(pool.columns(list(pool.blocks)))
    features = np.zeros((len(pool), seen.shape[1]))
    np.add.at(features, pool.clip_of, seen * pool.row_weights[:, None])
    labelled, found = rng.choice(len(pool), STEP, replace=False), []
    for round_ in range(ROUNDS):
        known = pool.subset(np.sort(labelled))
        with one_thread():
            chosen = choose(known, data.families, STRENGTHS, members=MEMBERS, folds=FOLDS, seed=seed)
        right = chosen.model.scores(data.test).argmax(axis=1) == data.test.labels
        found.append(float(right.mean()))
        if round_ + 1 < ROUNDS:
            labels = np.full(len(pool), -1)
            labels[labelled] = pool.labels[labelled]
            own = softmax(chosen.model.scores(pool))
            labelled = np.concatenate([labelled, ask(Clips(features, labels, data.classes, {"own": own}), STEP, rng)])
    return found


def table(name: str, curves: dict[str, list[list[float]]]) -> str:
    """Markdown: labels, accuracy by each strategy, and the gain with its standard error over beginnings."""
    random, ours = (100 * np.array(curves[each]) for each in ("at random", "suggested"))
    gains = ours - random
    rows = [
        [
            str(STEP * (round_ + 1)),
            f"{random[:, round_].mean():.1f}",
            f"{ours[:, round_].mean():.1f}",
            f"{gains[:, round_].mean():+.1f} ± {gains[:, round_].std(ddof=1) / len(gains) ** 0.5:.1f}",
        ]
        for round_ in range(ROUNDS)
    ]
    over_all = gains[:, 1:].mean(axis=1)
    note = f"{len(gains)} beginnings. Mean gain from the second row on: {over_all.mean():+.1f} ± "
    note += f"{over_all.std(ddof=1) / len(gains) ** 0.5:.1f} points."
    return markdown(name, ["labels", "at random, %", "suggested, %", "gain, points"], rows, note)


def planted(data: Data, seed: int) -> tuple[int, int, int]:
    """Of a pool with wrong labels: how many are suspected, how many of these are wrong, and of the first 16."""
    rng = np.random.default_rng(seed)
    clips = data.pool.subset(np.sort(rng.choice(len(data.pool), LABELLED, replace=False)))
    wrong = rng.choice(LABELLED, WRONG, replace=False)
    labels = clips.labels.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, clips.classes, WRONG)) % clips.classes
    given = Described(clips.rows, clips.clip_of, labels, clips.groups, clips.blocks, clips.classes)
    with one_thread():
        judged = judge_by_folds(given, data.families, STRENGTHS, members=MEMBERS, folds=5, seed=seed)
    places = [each.place for each in suspected_labels(softmax(judged.blend), labels)]
    hits = np.isin(places, wrong)
    return len(places), int(hits.sum()), int(hits[:WRONG].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description="Suggested labels against random ones.")
    parser.add_argument("folder", nargs="?", type=Path, help="for the sets; a temporary one by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="SEED")
    given = parser.parse_args()
    strategies: dict[str, Ask] = {"at random": at_random, "suggested": suggested}
    with tempfile.TemporaryDirectory() as temporary:
        sets = {seed: prepare((given.folder or Path(temporary)) / f"s{seed}", seed) for seed in given.seeds}
        for name in ("even", "rare"):
            curves: dict[str, list[list[float]]] = {strategy: [] for strategy in strategies}
            for seed, data in sets.items():
                for start in range(STARTS):
                    own = 100 * seed + start
                    pool = rare(data.pool, np.random.default_rng(own)) if name == "rare" else data.pool
                    for strategy, ask in strategies.items():
                        curves[strategy].append(curve(data, pool, ask, own))
                        print(name, own, strategy, np.round(curves[strategy][-1], 4), file=sys.stderr, flush=True)
            print(table(f"A pool that is {name}", curves), flush=True)
        rows = [[str(seed), *map(str, planted(data, seed))] for seed, data in sets.items()]
        headings = ["seed", "suspected", "of them wrong", "wrong of the first 16"]
        print(markdown("Planted wrong labels", headings, rows, f"{WRONG} of {LABELLED} labels are wrong."), flush=True)


if __name__ == "__main__":
    main()
