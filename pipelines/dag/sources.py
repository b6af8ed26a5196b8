"""Which source files decide what a step does, so that no cache outlives the code that filled it.

Front ends and tracking are left out: they carry results and do not make them, but for the step that registers.
"""

from __future__ import annotations

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_PACKAGES = ("kineflow", "components")
_BESIDE = ("*.j2", "*.css", "*.cu")  # templates and kernels, read by the module they lie beside
_MODULE_NAME = re.compile(rf"({'|'.join(_PACKAGES)})(\.\w+)+")


@cache
def source_files(step: str) -> tuple[str, ...]:
    """Files of ours that a step can import, directly or not, as sorted paths below the project's root.

    Imports are read from the source, those inside functions too, and modules that are named in strings; nothing is
    executed. Templates and kernels beside an imported module count with it.
    """
    seen: set[Path] = set()
    own = (ROOT / "components" / step / name for name in ("step.py", "params.py"))
    waiting = [path for path in own if path.is_file()]  # a step may have no parameters
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        waiting.extend(found for name in _imported(path) for found in _files_of(name))
    seen |= {other for path in list(seen) for kind in _BESIDE for other in path.parent.glob(kind)}
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in seen if path.stat().st_size))


def source_digest(step: str) -> str:
    """Hex digest of :func:`source_files` and their contents."""
    digest = hashlib.sha256()
    for name in source_files(step):
        digest.update(f"{name}\0".encode() + (ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE_NAME.fullmatch(node.value):
            names.add(node.value)
    return {name for name in names if name.split(".")[0] in _PACKAGES}


def _files_of(module: str) -> list[Path]:
    base = ROOT.joinpath(*module.split("."))
    return [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
