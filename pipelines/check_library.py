"""A network of transformers, looked at before a run: what its checkpoint is, and whether trainings suit it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.storage.errors import KineflowError
from pipelines.check_weights import is_placeholder, placeholder
from pipelines.plan import Plan


def look_at_library(plan: Plan) -> Iterator[KineflowError]:
    """Checkpoints of transformers that are not whole or not those meant, or take other clips than trainings give."""
    from kineflow.models.transformers_checkpoint import find_checkpoint, require_file
    from kineflow.models.transformers_hub import SAFE_FILE, is_fetched, weight_files
    from kineflow.models.transformers_library import require_transformers
    from kineflow.models.transformers_names import ARCHITECTURE, is_hub_id
    from kineflow.training.settings import TrainSettings

    for _, key, _ in plan.sections(PretrainSettings):
        network = PretrainSettings.model_validate(plan.values[key])
        if network.architecture != ARCHITECTURE:
            continue
        if plan.where == "here":
            require_transformers()
        checkpoint, sha256 = network.checkpoint, network.sha256
        if is_placeholder(sha256):
            yield placeholder(f"{key}.sha256", sha256, f"sha256sum {SAFE_FILE}")
            sha256 = ""
        if plan.where == "cluster" and is_hub_id(checkpoint):
            plan.note(f"{key} names {checkpoint} of a hub, to which a cluster may have no way: give a folder it sees")
        if not is_hub_id(checkpoint):
            checkpoint = str(plan.project / Path(checkpoint).expanduser())
            if not Path(checkpoint).is_dir():
                continue
        elif not is_fetched(checkpoint):
            if plan.where == "here":
                plan.note(f"the weights {checkpoint} are not here yet, and will be fetched from the hub")
            continue
        found = find_checkpoint(checkpoint, **network.hyperparameters)
        found.preprocessing(mean=network.rgb_mean, std=network.rgb_std)
        try:
            require_file(weight_files(found.folder), sha256)
        except KineflowError as error:
            yield error
        trainings = {name: kind for _, name, kind in plan.sections(TrainSettings)}
        for name, kind in trainings.items():
            section = kind.model_validate(plan.values[name])
            assert isinstance(section, TrainSettings)
            try:
                found.shape.require_clip(frames=section.frames, size=section.crop)
                found.shape.require_clip(frames=section.tested_frames, size=section.crop)
            except KineflowError as error:
                yield KineflowError(error.problem, where=f"section {name}", remedy=error.remedy)
