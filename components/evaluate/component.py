"""KFP front end of the evaluate step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    clips: dsl.Input[dsl.Dataset],
    first: dsl.Input[dsl.Model],
    params: dict,
    evaluation: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
    flow: dsl.Input[dsl.Dataset] = None,
    warped: dsl.Input[dsl.Dataset] = None,
    second: dsl.Input[dsl.Model] = None,
    third: dsl.Input[dsl.Model] = None,
    fourth: dsl.Input[dsl.Model] = None,
    fifth: dsl.Input[dsl.Model] = None,
    sixth: dsl.Input[dsl.Model] = None,
) -> None:
    """Score up to six models on the same clips, fuse and compare them."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "evaluate",
        inputs={
            "clips": clips,
            "flow": flow,
            "warped": warped,
            "first": first,
            "second": second,
            "third": third,
            "fourth": fourth,
            "fifth": fifth,
            "sixth": sixth,
        },
        outputs={"evaluation": evaluation, "report": report},
        sections={"params": params},
        metrics=metrics,
        classification=classification,
    )
