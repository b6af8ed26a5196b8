"""Transfer (Stroud et al. 2020): a network that has learnt from much video is fine-tuned on a smaller set.

::

    ingest ─ validate ────────────┬─ student ───┬─ evaluate ─ register (student)
    pretrain ─────────────────────┤             │
    pretrain, compared_network ───┴─ compared ──┘

Of D3D: its student, distilled on Kinetics, learns UCF101 or HMDB51 by cross entropy alone; no flow is extracted. The
classifier is a new one, for the new classes. A section ``compared_network`` names other weights, which are fine-tuned
beside it in the same way: S3D-G without distillation, or a second student for the paper's ensemble.
"""

from kfp import dsl

from components.frontend.kfp_components import evaluate, pretrain, register, train, validate
from pipelines.dag.fan_out import ingest
from pipelines.dag.optional import with_optional_sections


@dsl.pipeline(name="d3d-transfer", description="Fine-tune a network that has learnt from much video, and register it.")
@with_optional_sections(["compared_network"])
def d3d_transfer(
    seed: int,
    ingestion: dict,
    validation: dict,
    network: dict,
    training: dict,
    evaluation: dict,
    registration: dict,
    compared_network: dict | None = None,
) -> None:
    """One parameter a section of ``params/d3d_transfer.yaml``."""
    clips = ingest(params=ingestion, seed=seed).outputs["clips"]
    checked = validate(clips=clips, params=validation)
    starts = {"student": pretrain(params=network, seed=seed).outputs["rgb"]}
    if compared_network is not None:
        other = pretrain(params=compared_network, seed=seed).set_display_name("pretrain-compared")
        starts["compared"] = other.outputs["rgb"]
    models = {
        name: train(clips=clips, initial=initial, params=training, name=name, seed=seed)
        .set_display_name(name)
        .after(checked)
        .outputs["model"]
        for name, initial in starts.items()
    }
    figures = evaluate(clips=clips, models=list(models.values()), params=evaluation).outputs["evaluation"]
    register(model=models["student"], evaluation=figures, params=registration)
