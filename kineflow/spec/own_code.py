"""Code of the user's own: modules that a parameter file, or a model's card, may name by a dotted path.

A card may come from anybody, and Python imports whatever it finds. So a name leads to a module only if it lies in the
project at hand, in a package with an ``__init__.py``, or in an installed distribution that says so by an entry point of
the group ``kineflow.plugins``::

    [project.entry-points."kineflow.plugins"]
    my_package = "my_package"

Finding a module imports nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from kineflow.storage.errors import KineflowError
from kineflow.storage.project import find_project

GROUP = "kineflow.plugins"

_NO_CODE = ("data", "media", "mlartifacts", "outputs", "runs")  # folders of a project that hold what others have made
_KINEFLOW = ("components", "kineflow", "pipelines")


def own_module(name: str) -> Path | None:
    """The file of a module that may be imported by its dotted name; None where there is none. Nothing is imported."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or parts[0] in _KINEFLOW:
        return None
    project = find_project(Path.cwd())
    if project is not None and parts[0] not in _NO_CODE and (file := _file_below(project, parts)):
        return file
    if parts[0] in _declared():
        package = _installed(parts[0])
        return _file_below(package, parts) if package else None
    return None


def import_own(name: str) -> ModuleType:
    """Import a module that :func:`own_module` finds; the project is on Python's path for as long as that takes.

    Raises:
        KineflowError: It may not be imported, another module of this name is in its way, or it cannot be imported.
    """
    file = own_module(name)
    if file is None:
        raise KineflowError(f"no module {name!r} may be imported here", where=where_looked(), remedy=how_to_allow(name))
    top, depth = name.split(".")[0], name.count(".")
    beside = file.parents[depth + (file.name == "__init__.py")]
    with _on_path(beside):
        in_the_way = _installed(top)
        if in_the_way != beside:
            raise KineflowError(
                f"Python finds another {top!r}, in {in_the_way}",
                where=file,
                remedy=f"give your own {top!r} another name",
            )
        try:
            return import_module(name)
        except Exception as error:
            raise KineflowError(
                f"{name} cannot be imported: {type(error).__name__}: {error}",
                where=file,
                remedy="correct it; `python -c` with an import of it shows the line",
            ) from error


def where_looked() -> str:
    """Where code of the user's own is looked for, for messages."""
    project = find_project(Path.cwd())
    here = f"the project {project}" if project else "no project here"
    return f"{here}, distributions with an entry point in {GROUP}: {', '.join(sorted(_declared())) or 'none'}"


def how_to_allow(name: str) -> str:
    """What lets a module of a name be imported, for messages."""
    top = name.split(".")[0]
    return (
        f"work in the project that holds the package {top!r} (with an __init__.py), name it by --project or "
        f"KINEFLOW_PROJECT, or install {top!r} with an entry point in the group {GROUP}: docs/extend.md"
    )


def _file_below(folder: Path, parts: list[str]) -> Path | None:
    """The file of a module in a folder, if each package around it has an ``__init__.py`` and no link leads outside."""
    base = folder.resolve()
    packages = [base.joinpath(*parts[:depth]) / "__init__.py" for depth in range(1, len(parts))]
    target = base.joinpath(*parts)
    for file in (target / "__init__.py", target.with_name(f"{target.name}.py")):
        if file.is_file() and all(package.is_file() for package in packages):
            return file if file.resolve().is_relative_to(base) else None
    return None


def _declared() -> set[str]:
    return {entry.value.split(":")[0].split(".")[0] for entry in entry_points(group=GROUP)}


def _installed(top: str) -> Path | None:
    """The folder in which Python finds a module without a dot in its name; it is not imported."""
    try:
        spec = find_spec(top)
    except ValueError:  # of what was imported in another way
        return None
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin)
    return file.parents[file.name == "__init__.py"].resolve()


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    added = str(folder)
    invalidate_caches()  # the file may be younger than what Python remembers of its folder
    if added in sys.path:
        yield
        return
    sys.path.append(added)
    try:
        yield
    finally:
        sys.path.remove(added)
