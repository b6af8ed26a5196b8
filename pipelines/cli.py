"""The command line: ``kineflow --help``."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from components.frontend.exits import say_progress
from kineflow.storage.project import PROJECT, current_project, required_project
from pipelines.cli_export import export
from pipelines.cli_flow import flow_app
from pipelines.cli_label import label
from pipelines.cli_models import history, lineage, predict, promote, rollback, serve
from pipelines.cli_project import clean, init
from pipelines.cli_rehearse import rehearse
from pipelines.cli_run import run
from pipelines.cli_runs import runs_app
from pipelines.cli_shared import guarded, require_records
from pipelines.cli_submit import submit
from pipelines.cli_suggest import suggest
from pipelines.cli_weights import weights_app


class _Commands(TyperGroup):
    """Commands that know --project wherever it stands among their arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = args[: args.index("--")] if "--" in args else args
        at = next((i for i, word in enumerate(words) if word.partition("=")[0] == "--project"), None)
        if at is None:
            return super().parse_args(ctx, args)
        end = at + (1 if "=" in args[at] else 2)
        return super().parse_args(ctx, [*args[at:end], *args[:at], *args[end:]])


app = typer.Typer(
    name="kineflow",
    cls=_Commands,
    help="Train video action recognisers as versioned pipelines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init)
app.command()(clean)
app.command()(suggest)
app.command()(label)
app.add_typer(flow_app, name="flow")
app.add_typer(runs_app, name="runs")
app.add_typer(weights_app, name="weights")
app.command()(submit)
for command in (promote, rollback, history, lineage, serve, predict, export):
    app.command()(command)

Recipe = Annotated[str, typer.Argument(help="Name of a recipe, e.g. d3d.")]
ParamsFile = Annotated[
    Path | None, typer.Option("--params", help="Parameter file; by default the project's own.", metavar="FILE")
]


class Target(StrEnum):
    """What a recipe is compiled to."""

    KFP = "kfp"
    DVC = "dvc"
    CLUSTER = "cluster"


@app.callback()
def main_options(
    project: Annotated[
        Path | None, typer.Option("--project", help="Folder of the project; by default the one around.", metavar="DIR")
    ] = None,
) -> None:
    """Train video action recognisers as versioned pipelines."""
    if project is not None:
        os.environ[PROJECT] = str(project.resolve())


app.command()(run)
app.command()(rehearse)


@app.command()
def check(
    recipe: Recipe,
    params: ParamsFile = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="As for `kineflow submit`: what lies on its volume need not be here.")
    ] = False,
) -> None:
    """Check all that a recipe needs: parameters, data and their lists, weights, the store; and run nothing.

    Says how large the data are, and about how much disk, memory and time the run takes.
    """

    def work() -> None:
        from pipelines.dag.params import demo_params
        from pipelines.plan import Where
        from pipelines.preflight import check_run

        chosen = params or demo_params(recipe)
        where: Where = "cluster" if cluster else "later"
        checked = check_run(recipe, chosen, current_project(), where=where, estimate=True)
        for notice in checked.notices:
            _say(f"note: {notice}")
        for need in checked.needs:
            _say(need)
        _say(f"{os.path.relpath(chosen)}: {len(checked.values)} sections, all valid for {recipe}")

    guarded(work)


@app.command(name="compile")
def compile_(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe.")] = "d3d",
    params: ParamsFile = None,
    to: Annotated[
        Target, typer.Option(help="A KFP package, the same with what a cluster needs around it, or dvc.yaml.")
    ] = Target.KFP,
    output: Annotated[Path | None, typer.Option(help="Where to write the KFP package.", metavar="FILE")] = None,
    image: Annotated[str, typer.Option(help="For a cluster: by digest, in place of cluster.image.")] = "",
) -> None:
    """Write the KFP package of a recipe, or its dvc.yaml."""

    def work() -> None:
        from pipelines.dag.params import demo_params

        chosen = params or demo_params(recipe)
        if to is Target.DVC:
            from pipelines.engines.dvc_stages import write_dvc_files
            from pipelines.engines.workspace import Workspace

            _say(f"wrote {write_dvc_files(recipe, Workspace.of(recipe, chosen, required_project()))}")
        elif to is Target.CLUSTER:
            from kineflow.storage.files import atomic_file
            from pipelines.submission.checks import compiled_for_cluster

            target = output or Path(f"{recipe}-cluster.yaml")
            with atomic_file(target) as partial:
                partial.write_text(
                    compiled_for_cluster(recipe, chosen, current_project(), image=image), encoding="utf-8"
                )
            _say(f"wrote {target}")
        else:
            from pipelines.dag.package import write_package

            _say(f"wrote {write_package(recipe, _checked(recipe, chosen), output or Path(f'{recipe}.yaml'))}")

    guarded(work)


@app.command()
def synth(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to put videos, splits and ground truth; the project's data by default.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(help="YAML file of a SynthSpec; the demo's by default.", metavar="FILE")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Make the controlled benchmark: videos whose class is in the motion, with exact flow, masks and camera motion."""

    def work() -> None:
        from kineflow.storage.config import parse_params, read_yaml
        from kineflow.synth.dataset import make_dataset
        from kineflow.synth.spec import SynthSpec

        chosen = parse_params(SynthSpec, read_yaml(spec), where=str(spec)) if spec else SynthSpec()
        made = make_dataset(folder or current_project() / "data", chosen, seed=seed, workers=workers)
        _say(f"{os.path.relpath(made.folder)}: {made.clips} clips, {'made' if made.made else 'there already'}")

    guarded(work)


@app.command()
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of runs, or their beginnings: what differs between them; by default the latest."),
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="How many of the latest runs to show.")] = 10,
    where: Annotated[
        str,
        typer.Option(help="Of which runs, as MLflow searches: \"tags.recipe = 'd3d'\".", metavar="FILTER"),
    ] = "",
    html: Annotated[Path | None, typer.Option(help="Write a page too.", metavar="FILE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with a JSON object.")] = False,
) -> None:
    """Compare runs: figures on the same clips by the same protocol; of named ones also parameters, classes, cost.

    Named runs, --html and --json look at the answers to single clips: differences have intervals, by group where groups
    are known.
    """

    def work() -> None:
        from kineflow.comparison.comparison import compare as compared
        from kineflow.comparison.page import write_page
        from kineflow.comparison.records import find_runs
        from pipelines.show_comparison import show_closely, show_list

        require_records()
        closely = bool(runs or html or as_json)
        comparison = compared(find_runs(runs or [], where=where, limit=last), closely=closely)
        if as_json:
            _say(json.dumps(comparison.plain(), indent=1))
        elif runs:
            show_closely(comparison)
        else:
            show_list(comparison)
        if html:
            write_page(html, comparison)
            typer.echo(f"wrote {html}", err=as_json)

    guarded(work)


@app.command()
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
) -> None:
    """Remove stored clips, flow and features that no set, no dvc.lock and no registered model of this project needs."""

    def work() -> None:
        from kineflow.sets.garbage import check_idle, find_garbage, remove_garbage
        from kineflow.storage.project import media_folder
        from pipelines.engines.dvc_state import mend_dvc_state
        from pipelines.engines.run_lock import check_not_running
        from pipelines.garbage import cache_of, wanted_by_models
        from pipelines.show import show_garbage

        project = required_project()
        check_not_running(project)
        for words in mend_dvc_state(project):  # what a broken dvc.lock names is needed too
            _say(words)
        check_idle(project)
        cache, wanted = cache_of(project), wanted_by_models(project)
        garbage = find_garbage(project, cache=cache, wanted=wanted)
        show_garbage(garbage, media_folder(project))
        if not garbage.files or dry_run or not (yes or typer.confirm("Remove these files?")):
            return
        gone = remove_garbage(project, garbage, cache=cache, wanted=wanted)
        _say(f"removed {len(gone.files)} files, {sum(gone.files.values()) / 1e6:.1f} MB")

    guarded(work)


def main() -> None:
    """Entry point of the ``kineflow`` command."""
    say_progress()
    app()


def _checked(recipe: str, params: Path) -> dict[str, object]:
    from pipelines.dag.params import graph_for, load_params

    return load_params(graph_for(recipe, params), params)


def _say(text: object) -> None:
    typer.echo(text)


if __name__ == "__main__":
    main()
