"""Commands of registered models: promoted, rolled back, traced to their origins, served and asked."""

from __future__ import annotations

import json
import math
import os
from functools import partial
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
        str,
        typer.Argument(
            help="Registered model: NAME (its champion, else its candidate), NAME@ALIAS, NAME/VERSION or NAME/latest.",
            metavar="MODEL",
        ),
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
        from kineflow.registry.named_model import exact_version
        from kineflow.registry.origins import origins_of
        from kineflow.serving.stored_files import MODEL_PREFIX, find_version
        from kineflow.tracking.lineage import tree_digest
        from pipelines.check_origins import check_origins
        from pipelines.restore import restore

        require_records()
        found = find_version(exact_version(f"{MODEL_PREFIX}{model.removeprefix(MODEL_PREFIX)}"))
        origins = origins_of(found.name, found.number)
        typer.echo(origins.tree())
        if check:
            checked = list(check_origins(origins, required_project()))
            typer.echo("\n".join(["", *map(str, checked)]))
            if wrong := sum(not each.is_right for each in checked):
                raise KineflowError(
                    f"{wrong} of {len(checked)} are not right", where=model, remedy="see the lines with ✗"
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
    model: Annotated[
        str, typer.Argument(help="models:/NAME, models:/NAME@champion, models:/NAME/3 or models:/NAME/latest.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 5000,
    timeout: Annotated[int, typer.Option(min=1, help="Most seconds for a request.")] = 60,
) -> None:
    """Answer to videos over HTTP, in MLflow's protocol; of what is stored with the model, no code is run."""

    def work() -> None:
        from pipelines.serve import serve as served

        require_records()
        served(model, host=host, port=port, timeout_sec=timeout)

    guarded(work)


def predict(
    videos: Annotated[
        list[str],
        typer.Argument(
            help="Videos: files, folders, patterns, s3://bucket/key or s3://bucket/prefix.", metavar="VIDEO…"
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="models:/NAME (its champion, else its candidate), models:/NAME@ALIAS, models:/NAME/3, "
            "models:/NAME/latest, runs:/RUN_ID, or the folder of a bundle, here or on s3://."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 5,
    clips: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="See so many windows of each video, the centre of each, in place of those the model was tested by.",
        ),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write a table; - is standard output.", metavar="FILE")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write JSON; - is standard output.", metavar="FILE")
    ] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Let a window slide over each video, and say what happens when.")
    ] = False,
    step: Annotated[
        float | None,
        typer.Option(help="Seconds from one window to the next; half a window by default.", metavar="SECONDS"),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least score of a window that counts for a segment.")
    ] = 0.5,
    annotated: Annotated[
        Path | None,
        typer.Option("--video", help="Write the video with its timeline on the pictures.", metavar="OUT.mp4"),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Answer as it comes: to a growing file, rtsp:// or http:// stream or camera."),
    ] = False,
) -> None:
    """Say what happens in videos."""

    def work() -> None:
        from kineflow.registry.named_model import IN_RECORDS
        from pipelines.predict import predict_videos
        from pipelines.predict_follow import predict_follow
        from pipelines.predict_timeline import predict_timelines

        if not timeline and (annotated is not None or (step is not None and not follow)):
            raise KineflowError("--step and --video are of a timeline", remedy="add --timeline")
        if follow and (timeline or len(videos) != 1):
            raise KineflowError(
                "--follow takes one video, and makes its timeline itself", remedy="leave the others out"
            )
        if step is not None and not 0 < step < math.inf:
            raise KineflowError(f"a step of {step} seconds", where="--step", remedy="give seconds above 0")
        if model.startswith(IN_RECORDS):
            require_records()
        if follow:
            predict_follow(
                videos[0], model, step_sec=step, clips=clips, csv_file=csv_file, json_file=json_file, say=typer.echo,
                warn=partial(typer.echo, err=True),
            )  # fmt: skip
        elif timeline:
            predict_timelines(
                videos, model, step_sec=step, clips=clips, threshold=threshold, csv_file=csv_file, json_file=json_file,
                annotated=annotated, say=typer.echo,
            )  # fmt: skip
        else:
            predict_videos(videos, model, top=top, clips=clips, csv_file=csv_file, json_file=json_file, say=typer.echo)

    guarded(work)
