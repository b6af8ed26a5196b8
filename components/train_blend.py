"""Descriptions of training clips to the linear model that they choose, a rival of networks."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import DatasetInput, MeasuredResult, ModelInput, ModelOutput, StepResult
from kineflow.selection.settings import BlendSettings


def train_blend(
    *,
    clips: DatasetInput,
    descriptions: DatasetInput,
    descriptor: ModelInput,
    params: BlendSettings,
    name: str,
    seed: int = 0,
    model: ModelOutput,
) -> MeasuredResult:
    """Choose families of descriptors by folds of the clips of ``train``, and average the best.

    The clips of ``val`` and ``test`` are not looked at: the step evaluate compares the model on them with others.

    Args:
        clips: Clip set.
        descriptions: Feature set of the step describe.
        descriptor: Bundle of the network that made it.
        params: See :class:`BlendSettings`.
        name: Of the model.
        seed: Decides the folds.
        model: Folder to write: the bundle.

    Raises:
        KineflowError: Descriptions are another network's, or a class has clips of one group only.
    """
    from kineflow.models.bundle import save_bundle
    from kineflow.selection.fitting import described_clips, fit_blend_on
    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.feature_set import FeatureSet
    from kineflow.spec.split import Split

    clip_set, features = ClipSet.load(clips), FeatureSet.load(descriptions)
    learnt_from = [clip for clip in described_clips(clip_set, features) if clip.split is Split.TRAIN]
    fitted = fit_blend_on(learnt_from, clip_set, features, descriptor, params, name=name, seed=seed)
    save_bundle(model, fitted.network, fitted.card)
    best = fitted.choice.members[0]
    return StepResult(
        metrics={"clips": len(learnt_from), "folds/loss": best.loss},
        summary=f"{name} is the mean of {', '.join(fitted.members)}; the best of them has a loss of {best.loss:.3f} in "
        f"{params.folds} folds of {len(learnt_from)} clips",
        artifacts={"model": model},
    )


if __name__ == "__main__":
    command(train_blend)
