"""Source files as what they define: the code that can change a result, and what each piece of it refers to.

What changes no result is left out: comments, formatting, docstrings, annotations of functions, log lines, and what the
messages of errors and assertions say.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from kineflow.spec.plugins import registration

_LOGGERS = {"_LOG", "LOG", "log", "logger", "logging", "warnings"}
_ERROR_NAME = re.compile(r"\w*(Error|Exception|Warning)$")
_TYPE_TESTS = {"isinstance", "issubclass"}
_SILENT = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}


@dataclass(frozen=True)
class Reference:
    """A name that a piece of code uses, and what is read of it, as ``attributes`` in their order."""

    name: str
    attributes: tuple[str, ...] = ()


@dataclass
class Definition:
    """Statements at the top of a module that bind one name.

    Attributes:
        nodes: The statements, stripped.
        register: The decorator that puts the function into a register, e.g. ``register_model``; empty without one.
        plugin: The name under which that register knows it.
        signature: Names in the annotations of a function, which are no part of its code.
    """

    nodes: list[ast.stmt] = field(default_factory=list)
    register: str = ""
    plugin: str = ""
    signature: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """The code, in a form that does not depend on how it is written or on Python's version."""
        return "\n".join(canonical(node) for node in self.nodes)

    @cached_property
    def references(self) -> frozenset[Reference]:
        """Names that the code uses, some of them local to it perhaps."""
        return frozenset(used for node in self.nodes for used in _references(node))

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """What is imported within the code: as :attr:`Module.imports`."""
        walked = (each for node in self.nodes for each in ast.walk(node))
        imported = (_imported(each) for each in walked if isinstance(each, ast.Import | ast.ImportFrom))
        return dict(pair for pairs in imported for pair in pairs)

    @cached_property
    def texts(self) -> set[str]:
        """Strings in the code."""
        return {text for node in self.nodes for each in ast.walk(node) if (text := _text(each)) is not None}

    def arguments_of(self, functions: Container[str]) -> set[str]:
        """Strings that are the first argument of a call of one of these functions."""
        return {text for function, text in self._arguments if function in functions}

    @cached_property
    def _arguments(self) -> set[tuple[str, str]]:
        """Every function that is called, with its first argument, where that is a string."""
        calls = (each for node in self.nodes for each in ast.walk(node) if isinstance(each, ast.Call) and each.args)
        return {(_called(call), text) for call in calls if (text := _text(call.args[0])) is not None}


@dataclass
class Module:
    """A source file.

    Attributes:
        definitions: By name.
        imports: Where an imported name comes from: module, and name in it (empty for the module itself).
        effects: Statements that do something when the module is imported.
    """

    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    effects: Definition = field(default_factory=Definition)


def read_module(path: Path) -> Module:
    """Parse a source file; what has been parsed is kept, and must not be changed."""
    return _parsed(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=512)
def _parsed(source: str) -> Module:
    tree = ast.parse(source)
    signatures = {node.name: tuple(_signature(node)) for node in tree.body if isinstance(node, ast.FunctionDef)}
    module = Module()
    for statement in _Strip().visit(tree).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            module.imports.update(_imported(statement))
            continue
        names = list(_bound(statement))
        for name in names:
            module.definitions.setdefault(name, Definition()).nodes.append(statement)
        if not names or isinstance(statement, ast.If | ast.Try | ast.With | ast.For):
            module.effects.nodes.append(statement)
        if isinstance(statement, ast.FunctionDef):
            made = module.definitions[statement.name]
            made.register, made.plugin = registration(statement)
            made.signature = signatures.get(statement.name, ())
    return module


def canonical(node: object) -> str:
    """A syntax tree as text, without positions, without empty fields, and without imports, which are resolved."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return ""
    if isinstance(node, ast.AST):
        parts = ((name, value) for name, value in ast.iter_fields(node) if name not in _SILENT)
        inner = ",".join(f"{name}={canonical(value)}" for name, value in parts if value is not None and value != [])
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return f"[{','.join(map(canonical, node))}]"
    return repr(node)


class _Strip(ast.NodeTransformer):
    """Takes out of a tree what changes no result."""

    _in_function = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            argument.annotation = None
        for catching in (arguments.vararg, arguments.kwarg):
            if catching is not None:
                catching.annotation = None
        node.returns = None
        outside, self._in_function = self._in_function, True
        self._filled(node)
        self._in_function = outside
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outside, self._in_function = self._in_function, False
        self._filled(node)
        self._in_function = outside
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        self.generic_visit(node)
        if not self._in_function:  # of a section's keys the type decides what is made of a value
            return node
        return ast.Assign(targets=[node.target], value=node.value) if node.value else None

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        if isinstance(node.test, ast.Compare) and getattr(node.test.left, "id", "") == "__name__":
            return None
        return self._filled(node)

    def visit_For(self, node: ast.For) -> ast.AST:
        return self._filled(node)

    def visit_While(self, node: ast.While) -> ast.AST:
        return self._filled(node)

    def visit_With(self, node: ast.With) -> ast.AST:
        return self._filled(node)

    def visit_Try(self, node: ast.Try) -> ast.AST:
        return self._filled(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        return self._filled(node)

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        return self._filled(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if _text(node.value) is not None or _is_log_line(node.value):
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _ERROR_NAME.fullmatch(_called(node)):
            node.args, node.keywords = [], []
        return self.generic_visit(node)

    def _filled(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if not node.body:  # type: ignore[attr-defined]
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _called(call: ast.Call) -> str:
    """Name of the function, without the object or module that it is taken from."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_log_line(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    return isinstance(node.func.value, ast.Name) and node.func.value.id in _LOGGERS


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    else:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name


def _signature(function: ast.FunctionDef) -> Iterator[str]:
    for argument in (*function.args.args, *function.args.kwonlyargs):
        for node in ast.walk(argument.annotation) if argument.annotation else ():
            if isinstance(node, ast.Name):
                yield node.id


def _imported(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, str]]]:
    if isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            yield alias.asname or alias.name, (statement.module or "", alias.name)
    else:
        for alias in statement.names:
            first = alias.name.split(".")[0]
            yield alias.asname or first, (alias.name if alias.asname else first, "")


def _references(node: ast.AST) -> Iterator[Reference]:
    if isinstance(node, ast.Attribute):
        chain: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield Reference(inner.id, tuple(reversed(chain)))
        else:
            yield from _references(inner)
    elif isinstance(node, ast.Name):
        yield Reference(node.id)
    elif isinstance(node, ast.MatchClass):  # the class of what is there already
        for part in (*node.patterns, *node.kwd_patterns):
            yield from _references(part)
    elif isinstance(node, ast.Call) and _called(node) in _TYPE_TESTS:
        yield from _references(node.args[0])  # what is never made is never found
    else:
        for child in ast.iter_child_nodes(node):
            yield from _references(child)
