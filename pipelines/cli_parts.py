"""``kineflow submit --parts``: what it refuses, says and answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kineflow.storage.errors import KineflowError

if TYPE_CHECKING:
    from pipelines.cluster.parts import PartsPlan
    from pipelines.submission.checks import Package
    from pipelines.submission.part_sizes import PartSize
    from pipelines.submission.server import Server
    from pipelines.submission.submit import RunOptions

Say = Callable[[str], None]


def check_parts(parts: int, *, dry_run: bool, of_one_run: bool) -> None:
    """Check the options that have to do with parts.

    Args:
        parts: That are asked for; 0 for none.
        dry_run: Whether nothing is to be sent.
        of_one_run: Whether there are options that only one run can have.

    Raises:
        KineflowError: They do not go together.
    """
    if dry_run and not parts:
        raise KineflowError("--dry-run is for --parts", remedy="for one run, ask: kineflow check RECIPE")
    if parts == 1:
        raise KineflowError("one part is all", where="--parts", remedy="leave it out, or ask for 2 or more")
    if parts and of_one_run:
        raise KineflowError(
            "--parts starts many runs, named by their parts, and follows them",
            remedy="leave out --watch, --schedule and --name",
        )


def say_plan(
    recipe: str, params: Path, project: Path, parts: int, at_once: int, say: Say, *, image: str = ""
) -> dict[str, Any]:
    """Say what would run, and send nothing.

    Returns:
        The same for ``--json``.

    Raises:
        KineflowError: The parameters are invalid, or say nothing of a cluster; or there are fewer videos than parts.
    """
    from pipelines.dag.params import load_cluster
    from pipelines.submission.checks import plan_parts
    from pipelines.submission.part_sizes import part_sizes, require_videos

    plan, values = plan_parts(recipe, params, project, parts, image=image)
    cluster = load_cluster(params)
    if not image and cluster and not cluster.image:
        say("no image is named yet; with one, names and places are others")
    say(f"{parts} runs, {at_once} at once: ingest{''.join(f', {section}' for section in plan.flow)}")
    sizes: list[PartSize] = []
    try:
        sizes = part_sizes(values["ingestion"], project, parts)
    except KineflowError as error:
        say(f"what a part holds is not known here: {error.problem}")
    require_videos(sizes)
    rows: list[dict[str, Any]] = [{"part": str(part), "name": plan.run_name(part)} for part in plan.parts]
    for row, size in zip(rows, sizes, strict=False):
        row |= size.as_json()
    for row in rows:
        held = f": {row['videos']} videos, {row['clips']} clips, {row['bytes'] / 1e6:.1f} MB" if sizes else ""
        say(f"{row['name']}{held}")
    _say_how_to_train(plan, say)
    return _answer(plan, rows)


def make_parts(
    server: Server,
    package: Package,
    plan: PartsPlan,
    at_once: int,
    options: RunOptions,
    say: Say,
    *,
    anew: bool = False,
) -> tuple[dict[str, Any], int]:
    """Start and follow the runs of all parts.

    Returns:
        What came of it for ``--json``, and the exit code.

    Raises:
        KineflowError: See :meth:`pipelines.submission.parts.PartRuns.make_all`.
    """
    from pipelines.submission.parts import PartRuns

    runs = PartRuns(server, package, plan, options, say, anew).make_all(at_once)
    answer = _answer(
        plan,
        [
            {"part": str(each.part), "name": each.name, "run_id": each.run_id, "state": each.state.value}
            for each in runs
        ],
    )
    if failed := [each for each in runs if not each.is_made]:
        without = " without --no-cache" if anew else ""
        say(f"{len(failed)} of {len(runs)} parts are not made; the same command{without} tries them again")
        for each in failed:
            say(f"  part {each.part}: kineflow runs logs {each.run_id}")
        return answer, 1
    _say_how_to_train(plan, say)
    return answer, 0


def _answer(plan: PartsPlan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"recipe": plan.recipe, "place": plan.place, "parts": rows, "train_with": plan.to_train}


def _say_how_to_train(plan: PartsPlan, say: Say) -> None:
    import yaml

    say(f"to train on all parts, say in the parameter file:\n{yaml.safe_dump(plan.to_train).rstrip()}")
