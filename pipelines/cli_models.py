"""Commands of registered models: promoted, rolled back, traced to their origins, served and asked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from kineflow.storage.errors import KineflowError
from kineflow.storage.project import required_project
from pipelines.cli_shared import guarded, require_records


def promote(
    name: Annotated[str, typer.Argument(help="Registered model.")],
    version: Annotated[str | None, typer.Option(help="Version; the candidate by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
    other_data: Annotated[
        bool,
        typer.Option("--other-data", help="Compare with a champion that was evaluated on other data, or otherwise."),
    ] = False,
    first: Annotated[
        bool, typer.Option("--first", help="Where there is no champion any more, do not compare with the last one.")
    ] = False,
    why: Annotated[str, typer.Option(help="For the history.", metavar="TEXT")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Answer with a JSON object.")] = False,
) -> None:
    """Make a version the champion if the policy of its model holds and its files are those that were registered."""

    def work() -> None:
        from kineflow.registry.promotion import promote as promoted

        require_records()
        result = promoted(name, version, dry_run=dry_run, other_data_allowed=other_data, first=first, why=why)
        if as_json:
            typer.echo(json.dumps(result.plain(), indent=1))
        else:
            typer.echo("\n".join([*(f"note: {note}" for note in result.notes), *result.reasons]))
            typer.echo(f"policy: {result.policy.read_from}")
        if result.version == result.champion:  # the champion already
            return
        if not result.allowed:
            raise KineflowError(f"{name} version {result.version} is not promoted", remedy="see the reasons above")
        if not as_json:
            would = "is the champion" if result.applied else "would become the champion"
            typer.echo(f"{name} version {result.version} {would}")

    guarded(work)


def rollback(
    name: Annotated[str, typer.Argument(help="Registered model.")],
    why: Annotated[str, typer.Option(help="For the history.", metavar="TEXT")] = "",
) -> None:
    """Make the previous champion the champion again; the one that is left is no candidate any more."""

    def work() -> None:
        from kineflow.registry.promotion import rollback as rolled_back

        require_records()
        result = rolled_back(name, why=why)
        for note in result.notes:
            typer.echo(f"note: {note}")
        typer.echo(f"{name} version {result.version} is the champion again, in place of version {result.replaced}")

    guarded(work)


def lineage(
    model: Annotated[
        str, typer.Argument(help="Registered model: NAME (its champion), NAME@ALIAS or NAME/VERSION.", metavar="MODEL")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Look whether all of it is there still, and compare every digest.")
    ] = False,
    checkout: Annotated[
        Path | None,
        typer.Option(help="Bring back code, parameters, lock, data and outputs of its run.", metavar="DIR"),
    ] = None,
) -> None:
    """Say what a registered model came from: weights, teacher, clips, data, code, environment and run."""

    def work() -> None:
        from kineflow.registry.aliases import CHAMPION
        from kineflow.registry.origins import origins_of
        from kineflow.tracking.lineage import tree_digest
        from pipelines.check_origins import check_origins
        from pipelines.restore import restore

        require_records()
        name, _, alias = model.removeprefix("models:/").partition("@")
        name, _, version = name.partition("/")
        origins = origins_of(name, version or None, alias or CHAMPION)
        typer.echo(origins.tree())
        if check:
            found = list(check_origins(origins, required_project()))
            typer.echo("\n".join(["", *map(str, found)]))
            if wrong := sum(not each.is_right for each in found):
                raise KineflowError(
                    f"{wrong} of {len(found)} are not right", where=model, remedy="see the lines with ✗"
                )
        if checkout is not None:
            restored = restore(origins, checkout, required_project())
            if origins.code.get("source.digest") != tree_digest(restored):
                typer.echo(
                    "\nnote: Kineflow's code is not what made it: what differs is done again; see kineflow.commit above"
                )
            again = f"kineflow run {origins.run['recipe']} --params {origins.run['params']}"
            typer.echo(f"\nbrought back: {os.path.relpath(restored)}; there, this has nothing to do: {again}")

    guarded(work)


def history(
    name: Annotated[str, typer.Argument(help="Registered model.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer with a list of JSON objects, all that is known.")
    ] = False,
) -> None:
    """Say which versions were promoted, refused and rolled back: when, by whom and why."""

    def work() -> None:
        from kineflow.registry.history import history as told
        from pipelines.show import show_history

        require_records()
        events = told(name)
        if as_json:
            typer.echo(json.dumps([event.plain() for event in events], indent=1))
        else:
            show_history(name, events)

    guarded(work)


def serve(
    model: Annotated[str, typer.Argument(help="models:/NAME@champion or models:/NAME/3.")],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 5000,
    timeout: Annotated[int, typer.Option(min=1, help="Most seconds for a request.")] = 60,
) -> None:
    """Answer to videos over HTTP, with MLflow's server; of what is stored with the model, no code is run."""

    def work() -> None:
        from pipelines.serve import serve as served

        require_records()
        served(model, host=host, port=port, timeout_sec=timeout)

    guarded(work)


def predict(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    model: Annotated[
        str, typer.Option(help="models:/NAME@champion, models:/NAME/3, or the folder of a bundle, here or on s3://.")
    ],
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 5,
) -> None:
    """Say what happens in a video."""

    def work() -> None:
        from pipelines.predict import top_classes

        if model.startswith("models:/"):
            require_records()
        for name, score in top_classes(video, model, top):
            typer.echo(f"{score:6.1%}  {name}")

    guarded(work)
