"""Weights that a run starts from, looked at before it: whether they can be had, are those that are meant, and fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kineflow.models.bundle import WEIGHTS_FILE
from kineflow.models.descriptor_settings import DescriptorSettings
from kineflow.models.pretrain_settings import FlowInput, PretrainSettings
from kineflow.models.pretrain_tsn_settings import PretrainTsnSettings
from kineflow.models.transformers_names import ARCHITECTURE
from kineflow.models.weights_table import TENSORFLOW
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError
from pipelines.check_fit import look_at_fit
from pipelines.plan import Plan

_KEYS = (("checkpoint", "sha256"), ("flow_checkpoint", "flow_sha256"))


def look_at_weights(plan: Plan) -> Iterator[KineflowError]:
    """Checkpoints that cannot be had, whose bytes are others than the parameters say, or that take another input."""
    from kineflow.models.weights_table import is_named

    for _, key, _ in plan.sections(DescriptorSettings):
        if backbone := plan.values[key]["backbone"]:
            yield from _named(backbone, plan)
    for _, key, kind in plan.sections():
        values = plan.values[key]
        for of_weights, of_hash in _KEYS:
            checkpoint = values.get(of_weights) if of_hash in kind.model_fields else None
            if not checkpoint or (of_weights == "checkpoint" and values.get("architecture") == ARCHITECTURE):
                continue
            where = f"{key}.{of_hash}"
            faults = list(
                _named(checkpoint, plan)
                if is_named(checkpoint)
                else _of_a_hash(checkpoint, values[of_hash], where, plan)
            )
            yield from faults
            if not faults and issubclass(kind, PretrainSettings | PretrainTsnSettings):
                yield from look_at_fit(key, of_weights, kind.model_validate(values), plan)
            if of_weights == "flow_checkpoint":
                yield from _flow_input(key, values, plan)
            elif issubclass(kind, PretrainSettings | PretrainTsnSettings):
                yield from _input(key, kind, values, plan)


def _named(name: str, plan: Plan) -> Iterator[KineflowError]:
    """Published weights that a run here will have to download, or whose file is another."""
    from kineflow.models.named_weights import local_weights, weights_file
    from kineflow.models.weights_table import weights_named

    row = weights_named(name)
    if plan.where == "cluster":
        return
    try:
        is_here = local_weights(row) is not None
        if row.package:
            weights_file(row)
    except KineflowError as error:
        yield error
        return
    if not is_here:
        plan.note(f"the weights {name} ({row.size_mb:g} MB) are not here yet, and will be downloaded from {row.url}")


def _of_a_hash(checkpoint: str, sha256: str, where: str, plan: Plan) -> Iterator[KineflowError]:
    """A hash that is none, or a file of other bytes; that it is missing is told with all missing files."""
    from kineflow.models.weights import fetch_weights, tensorflow_index

    path = plan.project / checkpoint
    if is_placeholder(sha256) and tensorflow_index(path) is None:
        yield placeholder(where, sha256, _command_for(checkpoint))
    elif "://" not in checkpoint and path.exists():
        try:
            fetch_weights(str(path), sha256=sha256)
        except KineflowError as error:
            yield error


def is_placeholder(sha256: str) -> bool:
    """Whether it is one digit throughout, as parameter files have it where a hash is to be put."""
    return len(set(sha256)) == 1


def placeholder(where: str, sha256: str, command: str) -> KineflowError:
    """The fault of a key with such a hash, where a command prints the right one."""
    return KineflowError(
        f"a placeholder, {sha256[:8]}…, and no hash",
        where=where,
        remedy=f"put the hash of your file there, which `{command}` prints",
    )


def _command_for(checkpoint: str) -> str:
    """A command that prints the hash of a checkpoint."""
    if checkpoint.endswith(TENSORFLOW):
        return f"kineflow weights inspect {checkpoint}"
    is_folder = "://" not in checkpoint and not Path(checkpoint).suffix
    return f"sha256sum {Path(checkpoint, WEIGHTS_FILE) if is_folder else Path(checkpoint).name}"


def _flow_input(key: str, values: Mapping[str, Any], plan: Plan) -> Iterator[KineflowError]:
    """Flow that is made or normalised otherwise than the weights take it, or nobody knows how."""
    from kineflow.flow.settings import FlowSettings
    from kineflow.models.published import flow_card_of

    settings = PretrainSettings.model_validate(values)
    checkpoint = settings.flow_checkpoint
    is_local = "://" not in checkpoint
    is_bundle = not Path(checkpoint).suffix or Path(checkpoint).name == WEIGHTS_FILE
    if is_local and is_bundle and not (plan.project / checkpoint).exists():
        return  # its card says it
    try:
        card = flow_card_of(str(plan.project / checkpoint) if is_local else checkpoint)
        known = (card.preprocessing.mean, card.preprocessing.std) if card else None
        chosen = settings.flow_input(known)
    except KineflowError as error:
        yield KineflowError(error.problem, where=f"{key}.flow_checkpoint", remedy=error.remedy)
        return
    if known and chosen != known:
        plan.note(f"{key}: flow is normalised by {_in_words(chosen)}, and these weights take {_in_words(known)}")
    if not card or not card.flow:
        return
    theirs = card.flow.bound_px
    for _, section, _ in plan.sections(FlowSettings):
        if (ours := plan.values[section]["bound_px"]) != theirs:
            plan.note(
                f"{section}.bound_px is {ours:g}, and {key}.flow_checkpoint has learnt from flow of ±{theirs:g} px"
            )


def _in_words(flow_input: FlowInput) -> str:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in flow_input)
    return f"mean {mean}, std {std}"


def _input(key: str, kind: type[Params], values: Mapping[str, Any], plan: Plan) -> Iterator[KineflowError]:
    """Frames that are normalised otherwise than the weights take them, or nobody knows how; or another network's."""
    from kineflow.models.download import display_name
    from kineflow.models.layouts import require_layout
    from kineflow.models.normalisation import mismatch
    from kineflow.models.published import input_of, network_of
    from kineflow.models.weights import kept_download
    from kineflow.models.weights_table import is_named

    settings = kind.model_validate(values)
    assert isinstance(settings, PretrainSettings | PretrainTsnSettings)
    checkpoint = settings.checkpoint
    file = None
    if "://" in checkpoint:
        file = kept_download(checkpoint, settings.sha256)
    elif not is_named(checkpoint):
        file = plan.project / checkpoint
        checkpoint = str(file)
    called = settings.backbone if isinstance(settings, PretrainTsnSettings) else settings.architecture
    try:
        require_layout(called, network_of(checkpoint, settings.sha256), where=key)
        known = input_of(checkpoint, settings.sha256)
    except KineflowError as error:
        yield KineflowError(error.problem, where=key, remedy=error.remedy)
        return
    try:
        chosen = settings.rgb_input(known)
    except KineflowError as error:
        if file is None or file.exists():
            yield KineflowError(error.problem, where=key, remedy=error.remedy)
        elif Path(settings.checkpoint).suffix:  # a model's folder says it in its card
            plan.note(
                f"{key}: {display_name(settings.checkpoint)} is not here; the step sees whether it says how frames are "
                "normalised, as converted files do"
            )
        return
    if differs := mismatch(chosen, known):
        plan.note(f"{key}: {differs}")
