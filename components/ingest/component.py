"""KFP front end of the ingest step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(
    params: dict,
    seed: int,
    clips: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Index, check and store the videos of a source as a clip set."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "ingest",
        inputs={},
        outputs={"clips": clips},
        sections={"params": params},
        values={"seed": seed},
        metrics=metrics,
    )
