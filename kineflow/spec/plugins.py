"""Functions that a parameter file names, each in a file of one folder that is found by listing it.

A file of the folder makes a function known as it is imported, and is imported when a name is first asked for. So adding
one is adding a file; nothing else is edited, and nothing that does not name it depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from kineflow.storage.errors import KineflowError

F = TypeVar("F", bound="Callable[..., Any]")
G = TypeVar("G", bound="Callable[..., Any]")


class Plugins(Generic[F]):
    """A register of functions.

    Args:
        package: Whose files may hold them, e.g. ``kineflow.models``.
        what: What one is, for messages: ``network``.
    """

    def __init__(self, package: str, what: str) -> None:
        self._package, self._what = package, what
        self._functions: dict[str, F] = {}
        self._listed = False

    def register(self, function: G, name: str = "") -> G:
        """Make a function known by its own name, or by another.

        Raises:
            ValueError: The name is taken.
        """
        name = name or function.__name__
        if self.knows(name):
            raise ValueError(f"two {self._what}s are called {name!r}")
        self._functions[name] = cast("F", function)
        return function

    def knows(self, name: str) -> bool:
        """Whether a function of this name has been registered by now."""
        return name in self._functions

    def names(self) -> list[str]:
        """All names that there are, sorted."""
        if not self._listed:
            self._listed = True
            for module in files_of(self._package):
                import_module(module)
        return sorted(self._functions)

    def find(self, name: str) -> F:
        """The function of this name.

        Raises:
            KineflowError: There is none.
        """
        if name not in (known := self.names()):
            raise KineflowError(f"no {self._what} is called {name!r}", remedy=f"choose one of: {', '.join(known)}")
        return self._functions[name]


def files_of(package: str) -> list[str]:
    """Modules that lie in a package's folder, sorted; none is imported."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    names = (path.stem for folder in folders or () for path in Path(folder).glob("*.py"))
    return sorted(f"{package}.{name}" for name in names if name != "__init__")
