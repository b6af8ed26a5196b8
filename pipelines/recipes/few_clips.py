"""Few clips: a linear model on descriptions of motion, flow and frames, chosen and judged by folds of whole groups.

::

    ingest ─ validate ─ extract_flow ─┬─ describe ─ select_model ─ register
    pretrain_descriptor ──────────────┘

Below some thousand clips a network that learns its features has too little to learn from. Here nothing is learnt but
what a few numbers of each clip, or a frozen network's view of it, say of its class: minutes on a laptop, and figures of
all clips. What is registered must beat chance and every trivial baseline.
"""

from kfp import dsl

from components.frontend.kfp_components import (
    describe,
    pretrain_descriptor,
    register,
    select_model,
    validate,
)
from pipelines.dag.fan_out import extract_flow, ingest


@dsl.pipeline(name="few-clips", description="Choose a linear model on descriptions of clips, by folds; register it.")
def few_clips(
    seed: int,
    ingestion: dict,
    validation: dict,
    flow: dict,
    descriptor: dict,
    description: dict,
    selection: dict,
    registration: dict,
) -> None:
    """One parameter a section of ``params.yaml``."""
    clips = ingest(params=ingestion, seed=seed).outputs["clips"]
    checked = validate(clips=clips, params=validation)
    flow_set = extract_flow(clips=clips, params=flow, after=checked).outputs["flow"]
    network = pretrain_descriptor(params=descriptor).outputs["descriptor"]
    described = describe(clips=clips, flow=flow_set, descriptor=network, params=description).outputs["descriptions"]
    chosen = select_model(
        clips=clips, flow=flow_set, descriptions=described, descriptor=network, params=selection, seed=seed
    ).outputs
    register(model=chosen["model"], evaluation=chosen["evaluation"], params=registration)
