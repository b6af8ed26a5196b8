"""Functions that a parameter file names: each in a file of one folder, or in a module of the user's own.

A file makes a function known as it is imported, and is imported when its name is first asked for; which names there are
is read from the source, so that parameters are checked and nothing is imported. Adding one is adding a file; nothing
else is edited, and nothing that does not name it depends on it. A function of the user's own goes by its dotted path:
``my_package.my_network`` is ``my_network`` in ``my_package/my_network.py``, or in ``my_package/__init__.py``
(:mod:`kineflow.spec.own_code` says which modules may be named).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from kineflow.spec.own_code import how_to_allow, import_own, own_module, where_looked
from kineflow.storage.errors import KineflowError

F = TypeVar("F", bound="Callable[..., Any]")
G = TypeVar("G", bound="Callable[..., Any]")


@dataclass(frozen=True)
class Declared:
    """A function with a registering decorator, as its source has it.

    Attributes:
        module: That it is in.
        decorator: Which one.
        name: Under which it is known there.
        keywords: That it takes, and whether each must be given; None where it takes any.
    """

    module: str
    decorator: str
    name: str
    keywords: Mapping[str, bool] | None


class Plugins(Generic[F]):
    """A register of functions.

    Args:
        package: Whose files may hold them, e.g. ``kineflow.models``.
        what: What one is, for messages: ``network``.
        decorators: What they are registered by, e.g. ``register_model``; the first is for the user's own.
    """

    def __init__(self, package: str, what: str, *decorators: str) -> None:
        self._package, self._what, self._decorators = package, what, decorators
        self._functions: dict[str, F] = {}

    def register(self, function: G, name: str = "") -> G:
        """Make a function known by its own name, or by another; outside of the package, by its module's as well.

        Raises:
            ValueError: The name is taken.
        """
        name = self.full_name(function, name)
        if name in self._functions:
            raise ValueError(f"two {self._what}s are called {name!r}")
        self._functions[name] = cast("F", function)
        return function

    def full_name(self, function: Callable[..., Any], name: str = "") -> str:
        """The name of a function that is being registered: with its module, if that is not the package's own."""
        name = name or function.__name__
        own = not function.__module__.startswith(f"{self._package}.")
        return f"{function.__module__}.{name}" if own else name

    def names(self) -> list[str]:
        """Names of the package's own, sorted; nothing is imported."""
        return sorted(each.name for each in _declared_in(self._package) if each.decorator in self._decorators)

    def knows(self, name: str) -> bool:
        """Whether there is a function of this name; nothing is imported."""
        return self._declared(name) is not None

    def declaration(self, name: str) -> Declared:
        """What the source says of the function of this name; nothing is imported.

        Raises:
            KineflowError: There is none, or none that may be imported.
        """
        declared = self._declared(name)
        if declared is not None:
            return declared
        if "." not in name:
            raise KineflowError(
                f"no {self._what} is called {name!r}",
                remedy=f"choose one of: {', '.join(self.names())}; or your own, by its dotted path",
            )
        files = {path: file for path in _modules_of(name) if (file := own_module(path))}
        if not files:
            raise KineflowError(
                f"the {self._what} {name!r} is in no module that may be imported here ({where_looked()})",
                remedy=how_to_allow(name),
            )
        raise KineflowError(
            f"no {self._what} {name!r}: no function {name.rpartition('.')[2]!r} under @{self._decorators[0]} in "
            f"{' or '.join(map(str, files.values()))}",
            remedy=f"put @{self._decorators[0]} before it",
        )

    def find(self, name: str) -> F:
        """The function of this name; its module is imported.

        Raises:
            KineflowError: There is none, or its module may not or cannot be imported.
        """
        if name in self._functions and "." not in name:
            return self._functions[name]
        declared = self.declaration(name)  # of the user's own each time: what may be imported depends on the project
        if "." not in name:
            import_module(declared.module)
            return self._functions[name]
        import_own(declared.module)
        return self._functions[f"{declared.module}.{declared.name}"]

    def import_all(self) -> None:
        """Import all files of the package that register something."""
        for each in _declared_in(self._package):
            import_module(each.module)

    def _declared(self, name: str) -> Declared | None:
        if "." not in name:
            known = (each for each in _declared_in(self._package) if each.decorator in self._decorators)
            return next((each for each in known if each.name == name), None)
        for module in _modules_of(name):
            file = own_module(module)
            for each in declarations(file, module) if file else ():
                if each.name == name.rpartition(".")[2] and each.decorator in self._decorators:
                    return each
        return None


def files_of(package: str) -> dict[str, Path]:
    """Modules that lie in a package's folder and their files, sorted; none is imported."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    paths = [path for folder in folders or () for path in Path(folder).glob("*.py") if path.stem != "__init__"]
    return {f"{package}.{path.stem}": path for path in sorted(paths)}


def declarations(file: Path, module: str) -> list[Declared]:
    """Functions of a source file with a decorator ``@register_…``.

    Raises:
        KineflowError: The file is no Python.
    """
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text) if "@register_" in text else ast.Module([], [])
    except (SyntaxError, ValueError) as error:
        raise KineflowError(f"not readable as Python: {error}", where=file, remedy="correct it") from None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    named = ((*registration(node), node) for node in functions)
    return [Declared(module, decorator, name, _keywords(node)) for decorator, name, node in named if decorator]


def registration(function: ast.FunctionDef) -> tuple[str, str]:
    """The decorator and the name in ``@register_…("name")``; the function's own for a bare ``@register_…``."""
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        used = call.func if call else decorator
        if isinstance(used, ast.Name) and used.id.startswith("register_"):
            texts = [each.value for each in (call.args if call else ()) if isinstance(each, ast.Constant)]
            return used.id, next((text for text in texts if isinstance(text, str)), function.name)
    return "", ""


def check_keywords(declared: Declared, given: Collection[str], made: Collection[str] = ()) -> None:
    """Check keywords against those that a function takes, as far as its source says.

    Args:
        declared: The function.
        given: Those that a user has named.
        made: Those that its caller gives beside.

    Raises:
        KineflowError: One is unknown, or one that is needed is missing.
    """
    if declared.keywords is None:
        return
    known = sorted(declared.keywords.keys() - set(made))
    if unknown := sorted(set(given) - set(known)):
        raise KineflowError(
            f"{declared.name!r} takes no {', '.join(map(repr, unknown))}",
            remedy=f"choose among: {', '.join(known)}" if known else "leave it out",
        )
    needed = {name for name, required in declared.keywords.items() if required}
    if missing := sorted(needed - set(given) - set(made)):
        raise KineflowError(f"{declared.name!r} needs {', '.join(missing)}", remedy="give it a value")


@cache  # Kineflow's own files do not change while it runs
def _declared_in(package: str) -> list[Declared]:
    return [each for module, file in files_of(package).items() for each in declarations(file, module)]


def _modules_of(name: str) -> tuple[str, str]:
    """Modules in which a dotted name may be a function: of the same name, and around it."""
    return name, name.rpartition(".")[0]


def _keywords(function: ast.FunctionDef) -> dict[str, bool] | None:
    arguments = function.args
    if arguments.kwarg is not None:
        return None
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {argument.arg: default is None for argument, default in pairs}
