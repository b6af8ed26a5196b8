"""``docs/reference.md``, from the code: every command, recipe, step and parameter; ``make reference`` writes it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from components.frontend.contract import Signature, Step, load_step, step_names
from components.frontend.docstrings import documented
from components.frontend.section_help import keys_of
from kineflow.storage.config import Params
from kineflow.storage.files import atomic_file
from pipelines.dag.graph import graph_of, whole_graph
from pipelines.dag.params import CLUSTER, schema_of
from pipelines.dag.recipes import recipe_names
from pipelines.dag.sources import ROOT

REFERENCE = ROOT / "docs" / "reference.md"

_WIDTH = 100
_ROLE = re.compile(r":\w+:`~?([^`]*)`")
_HEADING = """\
# Reference

Made from the code by `make reference`; do not edit.

- [Commands](#commands): `kineflow … --help` says the same.
- [Recipes](#recipes): the sections of each one's parameter file. One may be left out where no key of it is required.
  Optional steps are there where the file has the section of one of them.
- [Steps](#steps): what each reads and writes; `python -m components.<step> --help` says the same.
- [Sections](#sections): every key of every section, with its type, range, default and meaning.

Unknown keys are refused, and every fault is told at once, before anything runs: `kineflow check`.
"""


def reference() -> str:
    """The whole text."""
    parts = [_HEADING, "## Commands\n", *_commands(), "## Recipes\n", *_recipes(), "## Steps\n", *_steps()]
    return "\n".join([*parts, "## Sections\n", *_sections()])


def _commands() -> Iterator[str]:
    from pipelines.cli import app

    yield from _command(typer.main.get_command(app), "kineflow", None)


def _command(command: Any, name: str, parent: typer.Context | None) -> Iterator[str]:
    context = typer.Context(
        command,
        parent=parent,
        info_name=name,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield f"### `{context.command_path}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    for inner, each in getattr(command, "commands", {}).items():
        if not each.hidden:
            yield from _command(each, inner, context)


def _recipes() -> Iterator[str]:
    for recipe in recipe_names():
        graph, always = whole_graph(recipe), graph_of(recipe).parameters
        rows = [
            (
                f"`{key}`",
                _link(kind),
                ", ".join(task.name for task in graph.tasks if key in task.sections.values())
                + ("" if key in always else " (an optional step)"),
            )
            for key, kind in schema_of(graph).items()
        ]
        rows.append((f"`{CLUSTER}`", "[ClusterParams](#clusterparams)", "`kineflow submit`; may be left out"))
        yield f"### `{recipe}`\n\n{_table(('section', 'is', 'read by'), rows)}"


def _steps() -> Iterator[str]:
    for name in step_names():
        step = load_step(f"components.{name}")
        about, _ = documented(inspect.getdoc(step) or "", "Args")
        yield f"### `{name}`\n\n{_plain(about)}\n\n{_table(('argument', 'is', 'meaning'), _arguments(step))}"


def _arguments(step: Step) -> Iterator[tuple[str, str, str]]:
    signature = Signature.of(step)
    _, meanings = documented(inspect.getdoc(step) or "", "Args")
    for name, artifact in signature.inputs.items():
        count = signature.lists.get(name)
        several = f", {count.least} to {count.most}" if count else ""
        optional = ", may be left out" if name in signature.optional else ""
        yield f"`{name}`", f"input: {artifact.kind}{several}{optional}", meanings.get(name, "")
    for name, section in signature.sections.items():
        yield f"`{name}`", f"section: {_link(section)}", meanings.get(name, "")
    for name, kind in signature.values.items():
        default = f", {signature.defaults[name]!r} by default" if name in signature.defaults else ""
        yield f"`{name}`", f"{kind.__name__}{default}", meanings.get(name, "")
    for name, artifact in signature.outputs.items():
        yield f"`{name}`", f"output: {artifact.kind}", meanings.get(name, "")


def _sections() -> Iterator[str]:
    for section in sorted(_known_sections(), key=lambda each: each.__name__):
        about, _ = documented(inspect.cleandoc(section.__doc__ or ""), "Attributes")
        rows = [
            (f"`{key.name}`", key.kind, "required" if key.default is None else f"`{key.default}`", key.meaning)
            for key in keys_of(section)
        ]
        text = f"{_plain(about)}\n\n" if about else ""
        yield f"### {section.__name__}\n\n{text}{_table(('key', 'type', 'default', 'meaning'), rows)}"


def _known_sections() -> set[type[Params]]:
    from kineflow.synth.spec import SynthSpec
    from pipelines.dag.cluster_settings import ClusterParams, StepResources

    steps = (Signature.of(load_step(f"components.{name}")) for name in step_names())
    return {ClusterParams, StepResources, SynthSpec, *(kind for each in steps for kind in each.sections.values())}


def _link(kind: type) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})" if issubclass(kind, Params) else kind.__name__


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(_plain(text).split()).replace("|", "\\|")


def _plain(text: str) -> str:
    """Markdown of what a docstring says."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`")


def main(path: Path = REFERENCE) -> None:
    """Write the file."""
    with atomic_file(path) as partial:
        partial.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
