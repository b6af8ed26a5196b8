"""The models of a run look at clips: at what it has described, and at what it left out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kineflow.evaluation.scores import Scores, softmax
from kineflow.flow.settings import FlowSettings
from kineflow.labelling.ranking import Clips
from kineflow.labelling.seen import Seen, Shown, seen_by_network, seen_by_selection
from kineflow.models.card import load_card
from kineflow.selection.settings import DescribeSettings
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.sets.media import SetMedia, open_media
from kineflow.spec.modality import reads_flow
from kineflow.storage.errors import KineflowError

_LOG = logging.getLogger(__name__)
_TEMPERATURES = np.exp(np.linspace(-2.5, 2.5, 51))


@dataclass(frozen=True)
class RunFiles:
    """What a run left behind.

    Attributes:
        clips: Clip set.
        flow: Flow set, where there is one.
        model: Bundle of the model that is to learn more.
        scores: Of that model and of its teacher, by name, on clips that they had not learnt from.
        teacher: Bundle of the model that taught it, where one did.
        descriptor: Bundle of the network that describes clips, where the model is one on descriptions.
    """

    clips: Path
    flow: Path | None
    model: Path
    scores: Mapping[str, Path]
    teacher: Path | None = None
    descriptor: Path | None = None


@dataclass(frozen=True)
class AskSettings:
    """What is asked, and how clips are looked at.

    Attributes:
        clips: Of each kind, at most.
        pool: Unlabelled clips that are looked at, at most; which ones does not change when others get labels.
        flow: As the run computed it; of clips that the run left out too.
        description: As the run described clips.
    """

    clips: int
    pool: int
    flow: FlowSettings
    description: DescribeSettings


def look_at(
    run: RunFiles, clip_set: ClipSet, clips: Sequence[Clip], settings: AskSettings, work: Path
) -> tuple[Clips, Sequence[Clip]]:
    """What the models of a run see of clips, and which clips they could see.

    Args:
        run: What it left behind.
        clip_set: Where the clips lie.
        clips: Usable ones.
        settings: How they are looked at.
        work: Folder in the project by which its store is found; nothing is written there.

    Raises:
        KineflowError: A bundle or a set is damaged, no clip can be looked at, or the run's flow was made by other
            parameters.
    """
    bundles = [run.model, *([run.teacher] if run.teacher else [])]
    flow_set = _flow(run, clip_set, clips, settings.flow, bundles, work)
    with open_media(settings.description.media_root, work / "seen") as media:
        seen = [_seen(bundle, run, Shown(clip_set, flow_set, clips, media), settings) for bundle in bundles]
    common = set.intersection(*({clip.clip_id for clip in each.clips} for each in seen))
    kept = [[clip.clip_id in common for clip in each.clips] for each in seen]
    there = [clip for clip in seen[0].clips if clip.clip_id in common]
    if left_out := len(clips) - len(there):
        _LOG.info("%d clips could not be looked at: they have no flow, or cannot be read", left_out)
    names = [load_card(bundle).name for bundle in bundles]
    return Clips(
        features=seen[0].features[kept[0]],
        labels=np.array([clip_set.label_index(clip) for clip in there], dtype=np.int64),
        classes=clip_set.classes,
        probabilities={name: each.probabilities[rows] for name, each, rows in zip(names, seen, kept, strict=True)},
    ), there


def _seen(bundle: Path, run: RunFiles, shown: Shown, settings: AskSettings) -> Seen:
    if run.descriptor:
        return seen_by_selection(shown, run.descriptor, bundle, settings.description)
    scores = run.scores.get(load_card(bundle).name)
    temperature = temperature_of(Scores.load(scores)) if scores else 1.0
    return seen_by_network(shown, bundle, temperature=temperature, batch_size=settings.description.batch_size)


def _flow(
    run: RunFiles,
    clip_set: ClipSet,
    clips: Sequence[Clip],
    settings: FlowSettings,
    bundles: Sequence[Path],
    work: Path,
) -> FlowSet | None:
    """The flow of the run, and that of clips that it left out, where a network reads any."""
    asking = [*bundles, *([run.descriptor] if run.descriptor else [])]
    if run.flow is None or not any(reads_flow(load_card(bundle).preprocessing.modality) for bundle in asking):
        return None
    flow_set = FlowSet.load(run.flow)
    missing = [clip for clip in clips if clip.clip_id not in flow_set.entries]
    if not missing or settings.existing:
        return flow_set
    with open_media(settings.media_root, work / "flow") as media:
        return _with_flow_of(missing, flow_set, clip_set, settings, media)


def _with_flow_of(
    missing: Sequence[Clip], flow_set: FlowSet, clip_set: ClipSet, settings: FlowSettings, media: SetMedia
) -> FlowSet:
    from kineflow.flow.extraction.engine import extract_set
    from kineflow.flow.extraction.settings import ExtractSettings

    chosen = ExtractSettings.of(settings)
    if any(flow_set.params.get(name) != value for name, value in chosen.described().items()):
        raise KineflowError(
            "the flow of the run was made by other parameters than those that are here now", remedy="run it again"
        )
    extracted = extract_set(clip_set, missing, media.store, chosen)
    if Path(media.store.root).resolve() != Path(flow_set.media_root).resolve():
        raise KineflowError(
            f"the flow of the run lies in {flow_set.media_root}, and that of new clips in {media.store.root}",
            remedy="run it again with the parameters that are here now",
        )
    return dataclasses.replace(
        flow_set, entries={**flow_set.entries, **{entry.clip_id: entry for entry in extracted.entries}}
    )


def temperature_of(scores: Scores) -> float:
    """What the logits of a model have to be divided by to be those of probabilities (Guo et al. 2017, section 4.2)."""
    there = scores.labels >= 0
    logits, labels = scores.logits[there].astype(np.float64), scores.labels[there]

    def loss(temperature: float) -> float:
        of_truth = softmax(logits / temperature)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(of_truth, 1e-9)).mean()) if len(labels) else 0.0

    return float(min(_TEMPERATURES, key=lambda temperature: (loss(temperature), abs(np.log(temperature)))))
