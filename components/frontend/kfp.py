"""A step as a component of Kubeflow Pipelines (KFP), made from the step's signature.

A lightweight component of KFP is the source text of one function, which KFP reads twice: for the interface, and for the
program that it puts into the package. :func:`component_of` writes that text. Its body is two lines, which a reader of
the compiled package can follow::

    def train(clips: dsl.Input[dsl.Dataset], …) -> None:
        \"\"\"Train one stream on the labelled clips.\"\"\"
        from components.frontend.kfp import run_in_kfp

        run_in_kfp("components.train", locals())

An input of several models or shards is a list in the step, on the command line and in a recipe, but not in KFP, which
hands lists of artifacts over from its own loops only; those cannot be retried and do not run within an exit handler
(kubeflow/pipelines#12389, #12390). So the component has numbered slots, ``models_1`` to ``models_6``: a call of the
component fills them from the list (:class:`ListsAsSlots`), and in the task the list is put together again.

Within a running task ``kfp.dsl`` has no decorators. Nothing here touches it when the module is imported.
"""

from __future__ import annotations

import inspect
import linecache
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from components.frontend.attempts import stopping_after_a_mistake
from components.frontend.contract import Artifact, Between, Signature, Step, load_step, module_of
from components.frontend.docstrings import documented
from components.frontend.exits import exit_code, say_progress
from components.frontend.image import IMAGE
from components.frontend.lifeline import end_with_run
from components.frontend.run import execute
from kineflow.storage.config import Params
from kineflow.storage.errors import KineflowError
from kineflow.tracking.kubeflow_run import use_its_store

METRICS, CLASSIFICATION = "metrics", "classification"
"""Outputs of a component for the figures of its result, and for its confusion matrix."""

SOURCE_VERSION = "source_version"
"""A key beside those of a section, which KFP's cache reads and no step: in what state the source was listed."""

_CALL = re.compile(r'^ +run_in_kfp\("([\w.]+)", locals\(\)\)$', re.MULTILINE)


@cache
def component_of(step: Step) -> Any:
    """The KFP component of a step, which may live in anybody's module.

    Args:
        step: A function that can be imported under its own name, from a module whose last word is that name too.

    Returns:
        What ``dsl.component`` makes of its source text; called in a pipeline, it gives a task.
    """
    from kfp import dsl

    text = component_source(step)
    origin = f"<component {module_of(step)}>"
    linecache.cache[origin] = (len(text), None, text.splitlines(keepends=True), origin)  # where inspect finds sources
    namespace: dict[str, Any] = {"dsl": dsl}
    exec(compile(text, origin, "exec", dont_inherit=True), namespace)  # text of ours, made of names
    component = dsl.component(namespace[step.__name__], base_image=IMAGE, install_kfp_package=False)
    lists = Signature.of(step).lists
    return ListsAsSlots(component, lists) if lists else component


def component_source(step: Step) -> str:
    """The source text of the function that KFP makes a component of."""
    signature = Signature.of(step)
    summary = documented(inspect.getdoc(step) or "", "Args")[0].partition("\n\n")[0]
    arguments = [f"    {name}: {kind}{default},\n" for name, kind, default in _arguments(signature)]
    return (
        f"def {step.__name__}(\n{''.join(arguments)}) -> None:\n"
        f'    """{" ".join(summary.split())}"""\n'
        "    from components.frontend.kfp import run_in_kfp\n\n"
        f'    run_in_kfp("{module_of(step)}", locals())\n'
    )


def module_in(source: str) -> str:
    """The module of the step that a component runs, read from the program text in a compiled package.

    Raises:
        KineflowError: It is no component of ours.
    """
    match = _CALL.search(source)
    if not match:
        raise KineflowError("this component was not made from a step", remedy="make it with component_of")
    return match[1]


class ListsAsSlots:
    """A component with numbered slots, which is called with lists.

    Args:
        component: KFP's own.
        lists: Which arguments are lists, and of how many.
    """

    def __init__(self, component: Any, lists: Mapping[str, Between]) -> None:
        self._component, self._lists = component, lists

    def __call__(self, **arguments: Any) -> Any:
        """The component's task, in a pipeline.

        Raises:
            KineflowError: A list has too few or too many elements.
        """
        for name, between in self._lists.items():
            given = list(arguments.pop(name, ()))
            if not between.least <= len(given) <= between.most:
                raise KineflowError(f"{between.least} to {between.most} are expected, not {len(given)}", where=name)
            arguments |= dict(zip(_slots(name, between), given, strict=False))
        return self._component(**arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._component, name)


def fold_slots(signature: Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, with a list for each argument that is one: the slots that are filled, in their order."""
    folded = {name: value for name, value in given.items() if name not in _all_slots(signature)}
    for name, between in signature.lists.items():
        folded[name] = [given[slot] for slot in _slots(name, between) if given.get(slot) is not None]
    return folded


def run_in_kfp(module: str, arguments: Mapping[str, Any]) -> None:
    """Run a step as the body of its component.

    Args:
        module: Of the step.
        arguments: The component's, by name: artifacts (None where an optional one was not given), parameter sections as
            mappings and plain values.
    """
    end_with_run()
    say_progress()

    def work() -> None:
        use_its_store(os.environ)
        step = load_step(module)
        signature = Signature.of(step)
        known = fold_slots(signature, arguments)
        paths = {
            name: [Path(each.path) for each in known[name]] if name in signature.lists else _path_of(known[name])
            for name in (*signature.inputs, *signature.outputs)
            if known.get(name) is not None
        }
        given = {name: known[name] for name in signature.values}
        given |= {name: _without_version(known[name]) for name in signature.sections}
        result = execute(step, {**paths, **given})
        if signature.shown.metrics:
            for figure, value in result.metrics.items():
                known[METRICS].log_metric(figure, float(value))
        if signature.shown.confusion and result.confusion:
            known[CLASSIFICATION].log_confusion_matrix(*result.confusion)

    def attempt() -> None:
        with stopping_after_a_mistake():
            work()

    code = exit_code(attempt)
    if code:
        sys.exit(code)


def _arguments(signature: Signature) -> list[tuple[str, str, str]]:
    """Name, annotation and default of a component's arguments; those with a default last, as Python wants it."""
    listed = [*_inputs(signature), *_parameters(signature), *_outputs(signature)]
    return sorted(listed, key=lambda argument: bool(argument[2]))


def _inputs(signature: Signature) -> Iterator[tuple[str, str, str]]:
    for name, artifact in signature.inputs.items():
        between = signature.lists.get(name)
        if between is None:
            yield name, _annotation(artifact), " = None" if name in signature.optional else ""
            continue
        for number, slot in enumerate(_slots(name, between), 1):
            yield slot, _annotation(artifact), "" if number <= between.least else " = None"


def _parameters(signature: Signature) -> Iterator[tuple[str, str, str]]:
    for name, kind in (*signature.sections.items(), *signature.values.items()):
        annotation = "dict" if issubclass(kind, Params) else kind.__name__
        # A recipe says its seed: one that was forgotten would be 0 unnoticed.
        has_default = name in signature.defaults and name != "seed"
        yield name, annotation, f" = {signature.defaults[name]!r}" if has_default else ""


def _outputs(signature: Signature) -> Iterator[tuple[str, str, str]]:
    for name, artifact in signature.outputs.items():
        yield name, _annotation(artifact), ""
    if signature.shown.metrics:
        yield METRICS, "dsl.Output[dsl.Metrics]", ""
    if signature.shown.confusion:
        yield CLASSIFICATION, "dsl.Output[dsl.ClassificationMetrics]", ""


def _annotation(artifact: Artifact) -> str:
    if artifact.kind == "Section":
        return "dsl.OutputPath(dict)"
    return f"dsl.{artifact.direction.capitalize()}[dsl.{artifact.kind}]"


def _path_of(given: Any) -> Path:
    """Where an artifact lies, or an output that is handed over by value."""
    return Path(given if isinstance(given, str) else given.path)


def _without_version(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != SOURCE_VERSION}


def _slots(name: str, between: Between) -> list[str]:
    return [f"{name}_{number}" for number in range(1, between.most + 1)]


def _all_slots(signature: Signature) -> Iterable[str]:
    return {slot for name, between in signature.lists.items() for slot in _slots(name, between)}
