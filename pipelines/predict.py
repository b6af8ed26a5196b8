"""What happens in a video, by a registered model, or a bundle in a folder or on S3."""

from __future__ import annotations

from pathlib import Path


def top_classes(video: Path, model: str, top: int) -> list[tuple[str, float]]:
    """The ``top`` likeliest classes of a video and their probabilities, likeliest first.

    Args:
        video: A video file.
        model: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or a bundle: its folder, or ``s3://bucket/prefix``.
        top: How many classes.

    Raises:
        KineflowError: The video or the model cannot be read.
    """
    from kineflow.models.bundle import load_bundle
    from kineflow.models.remote_bundle import local_bundle
    from kineflow.serving.predict import predict_video
    from kineflow.serving.stored_files import MODEL_PREFIX, checked_bundle, find_version

    registered = model.startswith(MODEL_PREFIX)
    with checked_bundle(find_version(model)) if registered else local_bundle(model) as folder:
        network, card = load_bundle(folder)
    probabilities = predict_video(video, network, card)
    ranked = sorted(zip(card.classes, map(float, probabilities), strict=True), key=lambda pair: -pair[1])
    return ranked[:top]
