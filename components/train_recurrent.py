"""Stored features to a trained recurrent network."""

from __future__ import annotations

from pathlib import Path

from components.frontend.command import command
from components.frontend.contract import DatasetInput, MeasuredResult, ModelInput, ModelOutput, StepResult
from kineflow.tracking.tracker import NULL_TRACKER, Tracker
from kineflow.training.recurrent_settings import RecurrentSettings


def train_recurrent(
    *,
    clips: DatasetInput,
    features: DatasetInput,
    backbone: ModelInput,
    motion_features: DatasetInput | None = None,
    motion_backbone: ModelInput | None = None,
    appearance_parent: ModelInput | None = None,
    motion_parent: ModelInput | None = None,
    params: RecurrentSettings,
    name: str,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    model: ModelOutput,
) -> MeasuredResult:
    """Train a recurrent network on stored features.

    ``params.keep`` says which weights are kept. The model holds the backbones as well, and takes videos. An interrupted
    run continues from its last round.

    Args:
        clips: Clip set.
        features: Feature set of its splits ``train`` and ``val``.
        backbone: Bundle of the network that has made them.
        motion_features: Feature set of a flow stream, for networks that see flow beside frames.
        motion_backbone: Bundle of the network that has made those.
        appearance_parent: Bundle of a trained conv_alstm on frames, for VideoLSTM to start from.
        motion_parent: Bundle of a trained conv_lstm on flow, likewise; both or neither.
        params: Which network, and how to train it.
        name: Of the model.
        seed: Decides its weights, the order of the clips, the windows and dropout.
        tracker: Told the curves as they come.
        model: Folder to write: the bundle, and its curves.

    Raises:
        KineflowError: Of two inputs that go together one is missing, or they do not fit each other or the network.
    """
    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.feature_set import FEATURE_INDEX_FILE, FEATURESET_FILE
    from kineflow.storage.files import sha256_of
    from kineflow.training import recurrent
    from kineflow.training.composite import Parents
    from kineflow.training.outputs import save_trained, training_work
    from kineflow.training.streams import load_stream

    moving = _both("motion_features", motion_features, "motion_backbone", motion_backbone)
    parents = _both("appearance_parent", appearance_parent, "motion_parent", motion_parent)
    pairs = [(features, backbone), *([moving] if moving else [])]
    bundles = [*(made_by for _, made_by in pairs), *(parents or ())]
    clip_set, streams = ClipSet.load(clips), [load_stream(*pair) for pair in pairs]
    read = [sha256_of(made / file) for made, _ in pairs for file in (FEATURE_INDEX_FILE, FEATURESET_FILE)]
    with training_work(model, clips, None, bundles, params, name, seed, *read) as work:
        trained = recurrent.train_sequence_network(
            clip_set,
            streams,
            params,
            parents=Parents(*parents) if parents else None,
            name=name,
            seed=seed,
            work=work,
            tracker=tracker,
        )
        save_trained(trained, clip_set, model, work)
    return StepResult(metrics=trained.fitted.metrics, summary=trained.summary, artifacts={"model": model})


def _both(first: str, one: Path | None, second: str, other: Path | None) -> tuple[Path, Path] | None:
    """Two inputs that are given together, or not at all."""
    from kineflow.storage.errors import KineflowError

    if one and other:
        return one, other
    if one or other:
        raise KineflowError(f"{first} and {second} go together, and one is missing", remedy="give both, or neither")
    return None


if __name__ == "__main__":
    command(train_recurrent)
