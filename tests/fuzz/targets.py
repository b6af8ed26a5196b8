"""What is asked of each format: to be read as a step would read it, from a folder of files that an attacker wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_set(folder: Path) -> None:
    """Whichever set the folder holds."""
    from kineflow.sets.clip_set import ClipSet
    from kineflow.sets.feature_set import FeatureSet
    from kineflow.sets.flow_set import FlowSet

    for kind, described in ((ClipSet, "clipset.json"), (FlowSet, "flowset.json"), (FeatureSet, "features.json")):
        if (folder / described).exists():
            kind.load(folder)


def read_scores(folder: Path) -> None:
    from kineflow.evaluation.fusion import fuse
    from kineflow.evaluation.metrics import summarise
    from kineflow.evaluation.scores import Scores

    scores = Scores.load(folder / "scores.parquet")
    fuse([scores, scores])
    summarise(scores)


def read_bundle(folder: Path) -> None:
    import torch

    from kineflow.models.bundle import load_bundle, weights_digest

    network, card = load_bundle(folder)
    weights_digest(folder)
    shape = (1, len(card.preprocessing.mean), card.preprocessing.frames, *[card.preprocessing.crop] * 2)
    if torch.Size(shape).numel() <= 3 * 16 * 64 * 64:  # what a network itself takes of a larger clip is another matter
        network(torch.zeros(shape))


def read_checkpoint(folder: Path) -> None:
    from kineflow.models.weights import read_weights

    for path in folder.iterdir():
        read_weights(path)


def read_foreign(folder: Path) -> None:
    """Weights of other frameworks, by the readers themselves: no second process, whose limits would help them."""
    from kineflow.models.weight_formats.formats import format_of
    from kineflow.storage.errors import KineflowError

    for path in folder.iterdir():
        form = format_of(path.name)
        assert form is not None
        try:
            form.read(path)
        except (OSError, ValueError, OverflowError) as error:
            raise KineflowError(str(error)) from None


def read_params(folder: Path) -> None:
    from pipelines.dag.graph import graph_of
    from pipelines.dag.params import load_params

    load_params(graph_of("d3d"), folder / "params.yaml")


def read_lists(folder: Path) -> None:
    import numpy as np

    from kineflow.data.boxes import read_boxes
    from kineflow.evaluation.curves import read_curves
    from kineflow.evaluation.imported import read_imported
    from kineflow.evaluation.scores import Scores
    from kineflow.labelling.relabel import label_list
    from kineflow.registry.measured import read_evaluation

    if (folder / "boxes.csv").exists():
        read_boxes(folder / "boxes.csv")
    elif (folder / "curves.csv").exists():
        read_curves(folder)
    elif (folder / "per_class.csv").exists():
        read_evaluation(folder, "m")
    elif (folder / "answers.csv").exists():
        label_list(folder / "clips.csv", folder / "answers.csv", root="/videos", new_classes=["walk"])
    else:
        like = Scores("m", ("a/1", "a/2"), np.array([0, 1]), ("x", "y"), np.zeros((2, 2), np.float32))
        read_imported(folder / "scores.csv", model="other", like=like, normalise="l2")


def read_layout(folder: Path) -> None:
    """The lists of a data set, whose layout their names tell."""
    from kineflow.data.clip_ids import clip_ids
    from kineflow.data.layouts import list_clips, open_lists
    from kineflow.data.source import LocalSource

    told_by = {
        "clips.csv": "csv", "classInd.txt": "ucf101", "run_test_split1.txt": "hmdb51",
        "Run_train.txt": "hollywood2",
        "train.json": "something", "export.json": "label_studio", "annotations.xml": "cvat",
    }  # fmt: skip
    layout = next((layout for name, layout in told_by.items() if (folder / name).exists()), "kinetics")
    source = LocalSource(folder)
    clips = list_clips(layout, open_lists(source, ""), source.names(), root=source.root).clips
    clip_ids(clips)
    for clip in clips:
        source.trouble(clip.source)


def read_video(folder: Path) -> None:
    import torch

    from kineflow.evaluation.view_protocol import centre_views
    from kineflow.models.card import ModelCard
    from kineflow.serving.predict import predict_video
    from kineflow.serving.served_model import LIMITS
    from kineflow.spec.preprocessing import Preprocessing

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3, 2))

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return clips.mean(dim=(2, 3, 4)) @ self.weight

    preprocessing = Preprocessing("rgb", 16, 1, 64, 56, mean=(128.0,) * 3, std=(64.0,) * 3)
    card = ModelCard("m", "s3d", {}, ("x", "y"), preprocessing)
    predict_video(
        (folder / "video").read_bytes(),
        Mean(),
        card,
        views=centre_views(3),
        max_frames=LIMITS["max_video_frames"],
        max_pixels=LIMITS["max_frame_pixels"],
        max_video_pixels=LIMITS["max_video_pixels"],
    )


TARGETS: dict[str, Callable[[Path], Any]] = {
    "sets": read_set,
    "scores": read_scores,
    "bundle": read_bundle,
    "checkpoint": read_checkpoint,
    "foreign": read_foreign,
    "params": read_params,
    "lists": read_lists,
    "layouts": read_layout,
    "video": read_video,
}
