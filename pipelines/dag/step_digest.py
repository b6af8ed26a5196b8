"""What a task's result depends on beside its inputs and parameters: the code that can reach it, as one digest.

Code is followed by name, definition by definition, from the function of the step: what it uses, what that uses, and so
on, over the imports inside of functions too. Nothing is executed. A function that a register knows by name (a network,
a backbone, a layout, a loss) is followed only where its name is in play: among the parameters of the task or of one
that comes before it, or in the code that asks for it. One in a module of the user's own is named by its dotted path.

Front ends, progress and tracking are left out: they carry results and do not make them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.dag.code import Definition, Module, Reference, read_module
from pipelines.dag.graph import Graph, Task
from pipelines.dag.sources import ROOT

_PACKAGES = ("kineflow", "components")
_CARRIERS = ("components.frontend", "kineflow.storage.progress", "kineflow.tracking")
_REGISTERS = {
    "kineflow.models.registry": "kineflow.models",
    "kineflow.data.layouts.registry": "kineflow.data.layouts",
    "kineflow.training.losses.registry": "kineflow.training.losses",
}
_ASK_BY_NAME = ("create_model", "create_backbone", "find_layout", "find_loss")
_BESIDE = ("*.j2", "*.css", "*.cu")  # templates and kernels, read by code that mentions ``__file__``
_DIGITS = 16

_EFFECTS = ""

Defined = tuple[str, str]  # a module, and what it defines; ``""`` for what it does when it is imported


def task_digests(graph: Graph, values: Mapping[str, Any], project: Path) -> dict[str, str]:
    """The digest of every task of a recipe, by the task's name.

    Args:
        graph: The recipe's.
        values: Its checked parameters, with all defaults.
        project: Folder below which the user's own modules are looked for.
    """
    code = Code(ROOT, project)
    in_play: dict[str, frozenset[str]] = {}
    digests = {}
    for task in graph.tasks:  # each after those whose outputs it reads
        names = set().union(*(in_play[name] for name in _before(task)))
        names |= {text for key in task.sections.values() for text in _texts(values[key])}
        reached = code.reach((task.module, task.step), names)
        in_play[task.name] = reached.names
        digests[task.name] = reached.digest
    return digests


def step_digests(graph: Graph, values: Mapping[str, Any], project: Path) -> dict[str, str]:
    """One digest for each step of a recipe: of all its tasks, which share a program where KFP compiles them."""
    by_task = task_digests(graph, values, project)
    of_step: dict[str, set[str]] = {}
    for task in graph.tasks:
        of_step.setdefault(task.step, set()).add(by_task[task.name])
    return {
        step: digest.pop()
        if len(digest) == 1
        else hashlib.sha256("".join(sorted(digest)).encode()).hexdigest()[:_DIGITS]
        for step, digest in of_step.items()
    }


@dataclass(frozen=True)
class Reached:
    """Code that can reach a result.

    Attributes:
        places: What was followed: module and name.
        names: Names that were in play.
        digest: Hex, of the code.
    """

    places: frozenset[Defined]
    names: frozenset[str]
    digest: str


class Code:
    """The source of Kineflow and of the user's own modules.

    Args:
        root: Folder of Kineflow's packages.
        project: Folder of the user's modules.
    """

    def __init__(self, root: Path, project: Path) -> None:
        self._root, self._project = root, project
        self._modules: dict[str, Module | None] = {}

    def reach(self, start: Defined, names: Collection[str]) -> Reached:
        """Follow the code from the function ``start``, with these names in play."""
        in_play = set(names)
        places: dict[Defined, str] = {}
        while True:
            asked = self._follow(start, in_play, places)
            if asked <= in_play:
                break
            in_play |= asked
        code = {f"{name}\0{text}" for (_, name), text in places.items()}  # wherever it lies: a move changes no result
        digest = hashlib.sha256("\0".join(sorted(code)).encode()).hexdigest()[:_DIGITS]
        return Reached(frozenset(places), frozenset(in_play), digest)

    def _follow(self, start: Defined, in_play: Collection[str], places: dict[Defined, str]) -> set[str]:
        """Fill ``places`` with all that can be reached; the names that this code asks registers for."""
        asked: set[str] = set()
        places.clear()
        waiting = [start]
        for name in self._definition(start).signature:
            waiting += self._resolve(start[0], Reference(name))
        while waiting:
            place = waiting.pop()
            if place in places or place[0].startswith(_CARRIERS):
                continue
            definition = self._definition(place)
            places[place] = "\n".join([definition.text, *self._meant(place[0], definition)])
            asked |= definition.arguments_of(_ASK_BY_NAME)
            asked |= self._defaults(definition, in_play)
            waiting += [(place[0], _EFFECTS)]
            for used in definition.references:
                waiting += self._resolve(place[0], used, definition)
            if place[0] in _REGISTERS:
                for name in in_play:
                    waiting += self._plugins(_REGISTERS[place[0]], name)
        return asked

    def _meant(self, module: str, definition: Definition) -> Iterator[str]:
        """What the code does not say by itself: what its names stand for, and the files beside it that it reads."""
        source = self._module(module)
        known = (source.imports if source else {}) | definition.imports
        for used in sorted(definition.references, key=lambda used: (used.name, used.attributes)):
            targets = list(self._resolve(module, used, definition))
            for text in sorted(self._definition(target).text for target in targets):
                yield f"{used.name}.{'.'.join(used.attributes)} = {hashlib.sha256(text.encode()).hexdigest()}"
            if not targets and used.name in known:
                yield f"{used.name} = {'.'.join(known[used.name])}"  # of another package
        yield self._beside(module, definition)

    def _definition(self, place: Defined) -> Definition:
        module = self._module(place[0])
        assert module is not None
        return module.effects if place[1] == _EFFECTS else module.definitions[place[1]]

    def _resolve(self, module: str, used: Reference, within: Definition | None = None) -> Iterator[Defined]:
        """What a name in a module leads to: nothing where it is a local variable, or of another package."""
        source = self._module(module)
        if source is None:
            return
        local = within.imports if within else {}
        if used.name in local or used.name in source.imports:
            yield from self._imported(*(local.get(used.name) or source.imports[used.name]), used.attributes)
        elif used.name in source.definitions:
            yield module, used.name

    def _imported(self, module: str, name: str, attributes: tuple[str, ...]) -> Iterator[Defined]:
        """What an imported name leads to: a definition, or what is read of a module."""
        whole = f"{module}.{name}" if name else module
        if name and self._module(whole) is None:
            yield from self._resolve(module, Reference(name))
        elif (inner := self._module(whole)) is not None:
            if attributes and self._module(f"{whole}.{attributes[0]}") is not None:
                yield from self._imported(whole, attributes[0], attributes[1:])
            elif attributes:
                yield from self._resolve(whole, Reference(attributes[0], attributes[1:]))
            else:  # the module itself is handed on
                yield from ((whole, each) for each, definition in inner.definitions.items() if not definition.plugin)

    def _plugins(self, package: str, name: str) -> Iterator[Defined]:
        """The function that a register of a package knows by this name."""
        for module in self._files(package):
            source = self._module(module)
            for each, definition in source.definitions.items() if source else ():
                if definition.plugin == name:
                    yield module, each
        if "." in name:
            yield from self._own(name)

    def _own(self, name: str) -> Iterator[Defined]:
        """A function in a module of the user's, by its dotted path, or by that of its module."""
        module, _, last = name.rpartition(".")
        for path in (name, module):
            source = self._module(path)
            if source is not None and path.split(".")[0] not in _PACKAGES:
                yield from (
                    (path, each) for each, definition in source.definitions.items() if definition.plugin == last
                )

    def _defaults(self, definition: Definition, in_play: Collection[str]) -> set[str]:
        """What a registered function is built of by default, where no other of that kind is in play."""
        if not definition.plugin:
            return set()
        kinds = self._registered()
        taken = {kinds[name] for name in in_play if name in kinds and name != definition.plugin}
        return {text for text in definition.texts if text in kinds and kinds[text] not in taken}

    @cache  # noqa: B019  as long as the code lives
    def _registered(self) -> dict[str, str]:
        """The register of each name that one knows."""
        modules = (self._module(file) for package in _REGISTERS.values() for file in self._files(package))
        return {d.plugin: d.register for each in modules if each for d in each.definitions.values() if d.plugin}

    @cache  # noqa: B019
    def _files(self, package: str) -> tuple[str, ...]:
        folder = self._root.joinpath(*package.split("."))
        return tuple(f"{package}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__")

    def _module(self, name: str) -> Module | None:
        """A module of ours or of the user's, parsed; None where it is neither."""
        if name not in self._modules:
            path = self._path(name)
            self._modules[name] = read_module(path) if path else None
        return self._modules[name]

    def _path(self, name: str) -> Path | None:
        if not all(part.isidentifier() for part in name.split(".")):
            return None
        root = self._root if name.split(".")[0] in _PACKAGES else self._project
        base = root.joinpath(*name.split("."))
        return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)

    def _beside(self, module: str, definition: Definition) -> str:
        """Digests of the files that the code reads from the folder that it stands in."""
        if not any(used.name == "__file__" for used in definition.references):
            return ""
        path = self._path(module)
        assert path is not None
        files = sorted({file for kind in _BESIDE for file in path.parent.glob(kind)})
        return "".join(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files)


def _before(task: Task) -> set[str]:
    return {made.task for made in task.read} | set(task.after)


def _texts(value: Any) -> Iterator[str]:
    """Strings in a section, at any depth; none that is empty."""
    if isinstance(value, str):
        yield from filter(None, [value])
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
