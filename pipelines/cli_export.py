"""The command ``kineflow export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_shared import guarded, require_records


class Form(StrEnum):
    """What a model is exported to."""

    ONNX = "onnx"
    TORCH = "torch"


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="models:/NAME (its champion, else its candidate), models:/NAME@ALIAS, models:/NAME/3, "
            "models:/NAME/latest, runs:/RUN_ID, or the folder of a bundle, here or on s3://.",
            metavar="MODEL",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write, whole or absent.", metavar="DIR")],
    to: Annotated[Form, typer.Option(help="onnx, or torch: a program for torch.export.load.")] = Form.ONNX,
) -> None:
    """Write a model as a file that runs without Kineflow: decoded frames in, scores out, checked against the model."""

    def work() -> None:
        from kineflow.exporting.export import export_model
        from kineflow.registry.named_model import IN_RECORDS, named_bundle

        if model.startswith(IN_RECORDS):
            require_records()
        with named_bundle(model) as bundle:
            exported = export_model(bundle, output, to.value)
        told = exported.description
        typer.echo(f"{exported.file}  {told['file']['bytes'] / 1e6:.1f} MB")
        takes = told["input"]
        typer.echo(f"in   {takes['name']}: {takes['dtype']} {_shape(takes['shape'])}, {takes['holds']}")
        for gives in told["outputs"]:
            typer.echo(f"out  {gives['name']}: {gives['dtype']} {_shape(gives['shape'])}")
        typer.echo(f"its outputs differ from the model's by at most {told['greatest_difference']:.1e}")

    guarded(work)


def _shape(sides: list[object]) -> str:
    return f"[{', '.join(map(str, sides))}]"
