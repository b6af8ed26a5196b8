"""KFP front end of the fetch_data step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fetch_data(params: dict, data: dsl.Output[dsl.Artifact]) -> None:
    """Fetch a version of DVC-tracked data to a shared volume, once."""
    from components.frontend import run_in_kfp

    run_in_kfp("fetch_data", inputs={}, outputs={"data": data}, sections={"params": params})
