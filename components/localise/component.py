"""KFP front end of the localise step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def localise(
    clips: dsl.Input[dsl.Dataset],
    first: dsl.Input[dsl.Model],
    params: dict,
    localisation: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    flow: dsl.Input[dsl.Dataset] = None,
    second: dsl.Input[dsl.Model] = None,
    third: dsl.Input[dsl.Model] = None,
    fourth: dsl.Input[dsl.Model] = None,
) -> None:
    """Find actors by the attention of up to four models."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "localise",
        inputs={"clips": clips, "flow": flow, "first": first, "second": second, "third": third, "fourth": fourth},
        outputs={"localisation": localisation, "report": report},
        sections={"params": params},
        metrics=metrics,
    )
