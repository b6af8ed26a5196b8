"""Networks compared by their motion probes: everything is checked first, then decoders are trained and measured.

The decoders of all networks see the same clips, windows and views in the same order, and those of one stage, kind and
width start from the same weights. Beside each kind of network stands one with random weights, made here: what is
decoded from that is due to the decoder and to the layout of the network.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from kineflow.data.batch_sampler import BatchSampler, Pool
from kineflow.data.dataset import ClipDataset, Geometry
from kineflow.evaluation.motion_probe import ProbeErrors, errors_of_each
from kineflow.evaluation.probe_results import Probed, Probing, Site, load_errors, save_errors
from kineflow.evaluation.probe_settings import ProbeSettings
from kineflow.evaluation.results import check_names, require_known
from kineflow.models.bundle import load_bundle
from kineflow.models.card import ModelCard
from kineflow.models.registry import create_model
from kineflow.models.stages import channels_of_stage
from kineflow.sets.clip_set import Clip, ClipSet
from kineflow.sets.flow_set import FlowSet
from kineflow.spec.modality import Modality
from kineflow.spec.preprocessing import Preprocessing
from kineflow.spec.sampling import ClipSpec
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.storage.progress import track
from kineflow.training.motion_probe import MotionProbe, fit_decoders
from kineflow.training.tasks import network_input, on_device

_LOG = logging.getLogger(__name__)
_BATCHES_TO_SETTLE = 16  # that the statistics of an untrained network are taken from
_SEEN: tuple[Modality, ...] = ("rgb", "rgb_difference", "flow")


@dataclass(frozen=True)
class _Candidate:
    """A network to be probed; ``untrained`` names its twin with random weights, and is None for the twin."""

    network: nn.Module
    card: ModelCard
    untrained: str | None


def probe_networks(
    bundles: Sequence[Path],
    clip_set: ClipSet,
    flow_set: FlowSet,
    settings: ProbeSettings,
    *,
    seed: int,
    work: Path,
) -> Probing:
    """Train and measure the probes of some models, and of untrained networks like them.

    Args:
        bundles: Folders of models with distinct names, S3D or S3D-G, that all see clips of one geometry.
        clip_set: Where the clips are.
        flow_set: What is decoded; and what networks that take flow see.
        settings: See :class:`ProbeSettings`.
        seed: Of untrained networks, decoders, batches and views.
        work: Where finished networks' errors are kept, for a run that is interrupted.

    Raises:
        KineflowError: A network has no such stages, networks cannot be compared, the baseline is unknown, clips or
            their flow are missing, or a decoder's loss became infinite.
    """
    candidates = _candidates([load_bundle(bundle) for bundle in bundles], settings, seed=seed)
    for candidate in candidates:
        clip_set.require_form(candidate.card.preprocessing, of=f"model {candidate.card.name!r}")
    preprocessings = [candidate.card.preprocessing for candidate in candidates]
    data = _Data.of(clip_set, flow_set, preprocessings, settings, seed=seed)
    clip_ids = tuple(clip.clip_id for clip in data.measured.clips)
    probed = []
    for candidate in candidates:
        kept = work / f"{candidate.card.name}.parquet"
        if not kept.is_file():
            save_errors(kept, clip_ids, _probe(candidate, data, settings))
        _, errors = load_errors(kept)
        modality = candidate.card.preprocessing.modality
        probed.append(Probed(candidate.card.name, modality, errors, candidate.untrained))
    return Probing(tuple(probed), clip_ids, settings.split, settings.student or probed[0].name, settings.baseline)


@dataclass(frozen=True)
class _Data:
    """Clips to learn from and to measure on, as all networks and their probes see them."""

    learnt: ClipDataset
    measured: ClipDataset
    sampler: BatchSampler
    bound_px: float
    seed: int

    @classmethod
    def of(
        cls,
        clip_set: ClipSet,
        flow_set: FlowSet,
        preprocessings: Sequence[Preprocessing],
        settings: ProbeSettings,
        *,
        seed: int,
    ) -> _Data:
        first = preprocessings[0]

        def dataset(splits: Sequence[str], *, may_flip: bool) -> ClipDataset:
            return ClipDataset(
                clip_set,
                [clip for split in splits for clip in _clips(clip_set, Split(split))],
                modalities=tuple(dict.fromkeys([*(each.modality for each in preprocessings), "flow"])),
                geometry=Geometry(
                    ClipSpec(first.frames, first.stride_frames, first.short),
                    first.short_side,
                    first.crop,
                    fit=first.fit,
                ),
                flow_set=flow_set,
                may_flip=may_flip,
                cache_bytes=settings.cache_mb << 20,
            )

        learnt = dataset(settings.learn_from, may_flip=settings.flip)
        pool = Pool(range(len(learnt)), settings.batch_size)
        sampler = BatchSampler([pool], steps=settings.steps, seed=seed)
        return cls(learnt, dataset([settings.split], may_flip=False), sampler, flow_set.bound_px, seed)

    def batches(self, workers: int) -> DataLoader[Any]:
        """Training batches, the same at each call."""
        return DataLoader(self.learnt, batch_sampler=self.sampler, num_workers=workers)


def _probe(candidate: _Candidate, data: _Data, settings: ProbeSettings) -> dict[Site, ProbeErrors]:
    name, preprocessing = candidate.card.name, candidate.card.preprocessing
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = candidate.network.to(device)
    if candidate.untrained is None:
        settling = islice(data.batches(settings.workers), _BATCHES_TO_SETTLE)
        _settle_norms(network, (network_input(on_device(batch, device), preprocessing) for batch in settling))
    sites = [(stage, decoder) for stage in settings.stages for decoder in settings.decoders]
    probes = []
    for stage, decoder in sites:
        with _seeded(data.seed, stage, decoder):
            probe = MotionProbe(
                network, preprocessing, stage=stage, decoder=decoder, bound_px=data.bound_px, loss=settings.loss
            )
        probes.append(probe.to(device))
    batches = track(data.batches(settings.workers), total=settings.steps, what=f"probe {name}", unit="step")
    fit_decoders(probes, batches, steps=settings.steps, settings=settings.optimiser)
    errors = errors_of_each(
        probes, data.measured, batch_size=settings.batch_size, device=device, workers=settings.workers
    )
    best = min(range(len(sites)), key=lambda index: errors[index].decoded.mean())
    _LOG.info(
        "%s: %.3f px at %s by %s; no motion %.3f px",
        name, errors[best].decoded.mean(), *sites[best], errors[best].still.mean(),
    )  # fmt: skip
    return dict(zip(sites, errors, strict=True))


def _candidates(
    models: Sequence[tuple[nn.Module, ModelCard]], settings: ProbeSettings, *, seed: int
) -> list[_Candidate]:
    """The networks, each kind's untrained twin after the last of them."""
    _check(models, settings)
    twins: dict[object, _Candidate] = {}
    candidates = []
    for network, card in models:
        kind = (card.architecture, tuple(sorted(card.hyperparameters.items())), card.preprocessing)
        if kind not in twins:
            same = sum(twin.card.preprocessing.modality == card.preprocessing.modality for twin in twins.values())
            name = f"untrained-{card.preprocessing.modality}" + (f"-{same + 1}" if same else "")
            twins[kind] = _untrained(card, name, seed)
        candidates.append(_Candidate(network, card, twins[kind].card.name))
    check_names([candidate.card.name for candidate in (*candidates, *twins.values())])
    return [*candidates, *twins.values()]


def _untrained(card: ModelCard, name: str, seed: int) -> _Candidate:
    with _seeded(seed, "untrained"):
        network = create_model(
            card.architecture, num_classes=0, in_channels=len(card.preprocessing.mean), **card.hyperparameters
        )
    return _Candidate(network, ModelCard(name, card.architecture, card.hyperparameters, (), card.preprocessing), None)


def _check(models: Sequence[tuple[nn.Module, ModelCard]], settings: ProbeSettings) -> None:
    names = [card.name for _, card in models]
    check_names(names)
    require_known([name for name in (settings.student, settings.baseline) if name is not None], names, what="model")
    first = models[0][1]
    for network, card in models:
        if card.preprocessing.modality not in _SEEN:
            raise KineflowError(
                f"a network that sees {card.preprocessing.modality} is not probed",
                where=f"model {card.name!r}",
                remedy=f"choose networks that see one of: {', '.join(_SEEN)}",
            )
        for stage in settings.stages:
            try:
                channels_of_stage(network, stage)
            except KineflowError as error:
                raise KineflowError(error.problem, where=f"model {card.name!r}", remedy=error.remedy) from None
        for field in ("frames", "stride_frames", "short", "short_side", "crop", "fit"):
            mine, theirs = (getattr(each.preprocessing, field) for each in (first, card))
            if mine != theirs:
                raise KineflowError(
                    f"{field} is {mine} for {first.name!r} and {theirs} for {card.name!r}; "
                    "errors are compared on the same clips",
                    remedy="probe networks that were trained on clips of one length and size",
                )


def _settle_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give an untrained network's normalisations the statistics of its own features.

    Those it starts with fit no features, and its signal would fade from stage to stage: networks would be compared with
    one that passes nothing on, where it should be with one that passes on what no training has chosen.
    """
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over all batches
    network.train()
    with torch.no_grad():
        for clips in batches:
            network(clips)
    network.eval()


@contextmanager
def _seeded(seed: int, *purpose: str) -> Iterator[None]:
    """Draw from torch's global generator by a seed of one's own, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(sha256(repr((seed, purpose)).encode()).digest()[:7], "big"))
        yield


def _clips(clip_set: ClipSet, split: Split) -> Sequence[Clip]:
    clips = clip_set.usable(split)
    if not clips:
        raise KineflowError(
            f"the clip set has no usable clip in split {split.value!r}",
            where=clip_set.media_root,
            remedy="choose other splits in learn_from or split",
        )
    return clips
