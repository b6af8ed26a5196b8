"""The commands below ``kineflow flow``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from components.frontend.exits import exit_code
from kineflow.spec.quantise import DEFAULT_BOUND_PX
from kineflow.spec.tvl1 import SolverChoice
from kineflow.storage.errors import KineflowError

_FAILED_SHOWN = 10

flow_app = typer.Typer(help="Look at optical flow, and exchange it with other tools.", no_args_is_help=True)


@flow_app.command()
def preview(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    output: Annotated[Path, typer.Option(help="Where to write the preview.", metavar="FILE")] = Path("preview.mp4"),
    preset: Annotated[str, typer.Option(help="TV-L1 parameters: opencv, cuda, capped, deep or fast.")] = "deep",
    warped: Annotated[bool, typer.Option(help="Show the flow without the camera's motion too.")] = True,
    people: Annotated[bool, typer.Option("--people", help="Find people; they do not count as background.")] = False,
    max_px: Annotated[float | None, typer.Option(help="Speed of full colour; by default from the clip.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length to show, from the start.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …")] = "cpu",
    solver: Annotated[SolverChoice, typer.Option(help="Of TV-L1.")] = "auto",
) -> None:
    """Write a video of each frame beside its flow and its warped flow (hue: direction; strength: speed)."""

    def work() -> None:
        from kineflow.flow.preview import PreviewSettings
        from kineflow.flow.preview import preview as write_preview
        from kineflow.spec.tvl1 import tvl1_params

        settings = PreviewSettings(
            params=tvl1_params(preset),
            warped=warped,
            people=people,
            max_px=max_px,
            seconds=seconds,
            device=device,
            solver=solver,
        )
        done = write_preview(video, output, settings)
        typer.echo(f"wrote {output}: {done.pairs} pairs at {done.width}x{done.height}")

    _guarded(work)


@flow_app.command(name="import")
def flow_import(
    folder: Annotated[Path, typer.Argument(help="Where the folders of all clips, or of all classes, lie.")],
    clips: Annotated[Path, typer.Option(help="Clip set whose flow this is.", metavar="DIR")],
    output: Annotated[Path, typer.Option(help="Flow set to write; it points into FOLDER.", metavar="DIR")],
    bound: Annotated[float, typer.Option(help="Pixels that 0 and 255 stand for.", min=1e-3)] = DEFAULT_BOUND_PX,
) -> None:
    """Use flow that other tools have stored as JPEGs (flow_x_00001.jpg, flow_y_00001.jpg, …)."""

    def work() -> None:
        from kineflow.flow.jpeg_layout import import_jpeg_flow
        from kineflow.sets.clip_set import ClipSet
        from kineflow.storage.files import atomic_folder

        if output.exists():
            raise KineflowError("is there already", where=output, remedy="remove it, or choose another --output")
        flow_set = import_jpeg_flow(folder, ClipSet.load(clips).usable(), bound_px=bound)
        with atomic_folder(output) as partial:
            flow_set.save(partial)
        usable = flow_set.usable_ids()
        _list_failed({name: entry.reason for name, entry in flow_set.entries.items() if name not in usable})
        typer.echo(f"wrote {output}: {len(usable)} of {len(flow_set.entries)} clips have flow")

    _guarded(work)


@flow_app.command(name="export")
def flow_export(
    flow: Annotated[Path, typer.Argument(help="A flow set.", metavar="FLOW")],
    output: Annotated[Path, typer.Option(help="Folder for the folders of all clips.", metavar="DIR")],
    quality: Annotated[int, typer.Option(help="Of the JPEGs.", min=1, max=100)] = 95,
    workers: Annotated[int, typer.Option(help="Clips written at the same time.", min=1)] = 1,
) -> None:
    """Write flow as JPEGs, as other tools read it; clips that are there already are kept."""

    def work() -> None:
        from kineflow.flow.jpeg_layout import export_jpeg_flow
        from kineflow.sets.flow_set import FlowSet

        done = export_jpeg_flow(FlowSet.load(flow), output, quality=quality, workers=workers)
        _list_failed(done.failed)
        typer.echo(f"{output}: {done.written} clips written, {done.kept} kept, {len(done.failed)} without flow")

    _guarded(work)


def _list_failed(reasons: Mapping[str, str]) -> None:
    for clip_id, reason in list(reasons.items())[:_FAILED_SHOWN]:
        typer.echo(f"  {clip_id}: {reason}", err=True)
    if len(reasons) > _FAILED_SHOWN:
        typer.echo(f"  … and {len(reasons) - _FAILED_SHOWN} more", err=True)


def _guarded(work: Callable[[], None]) -> None:
    code = exit_code(work)
    if code:
        raise typer.Exit(code)
