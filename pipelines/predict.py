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
    from kineflow.serving.predict import predict_video

    if model.startswith("models:/"):
        from kineflow.serving.served_model import load_video_model

        served = load_video_model(model).unwrap_python_model()
        network, card = served.network, served.card
    else:
        from kineflow.models.bundle import load_bundle
        from kineflow.models.remote_bundle import local_bundle

        with local_bundle(model) as folder:
            network, card = load_bundle(folder)
    probabilities = predict_video(video, network, card)
    ranked = sorted(zip(card.classes, map(float, probabilities), strict=True), key=lambda pair: -pair[1])
    return ranked[:top]
