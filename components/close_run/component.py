"""KFP front end of the close_run step: the exit task of every run on a cluster."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def close_run(params: dict, closed: dsl.Output[dsl.Artifact]) -> None:
    """Close the run's record, as failed with the last log lines of what failed."""
    from components.frontend import run_in_kfp

    run_in_kfp("close_run", inputs={}, outputs={"closed": closed}, sections={"params": params})
