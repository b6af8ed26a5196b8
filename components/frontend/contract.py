"""What a step is: a function from paths and typed parameters to paths, with a result small enough to print.

A step is said once, in ``components/<step>.py``, as one keyword-only function of the file's name::

    def train(*, clips: DatasetInput, flow: DatasetInput | None = None, initial: ModelInput,
              params: TrainSettings, name: str, seed: int = 0, tracker: Tracker = NULL_TRACKER,
              model: ModelOutput) -> MeasuredResult:

The annotations say all that a front end has to know: which arguments are paths to read and to write and what lies
there, which are sections of a parameter file (classes of :class:`~kineflow.storage.config.Params`) and which are plain
values; and of the result, what is to be shown of it. Inputs and outputs are a folder or a file each, and every output
is written whole or not at all. An input of several, ``Annotated[list[ModelInput], Between(1, 6)]``, says how many there
may be. Only a step that draws at random takes a ``seed``, and only one that has more to tell than its result takes a
``tracker``.

Heavy imports (torch, mlflow, Great Expectations, pandas) stay inside the function's body, so that ``--help`` and the
check of parameters cost nothing. :mod:`components.frontend.command` makes a command of the function,
:mod:`components.frontend.kfp` a component of Kubeflow Pipelines.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from kineflow.storage.config import Params

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """A path that a step reads or writes.

    Attributes:
        kind: What lies there, in KFP's words: ``Dataset``, ``Model``, ``HTML``, or ``Artifact`` for anything else;
            ``Section`` for a section of a parameter file, as JSON, which KFP hands over by value.
        direction: Whether it is read or written.
    """

    kind: Literal["Dataset", "Model", "HTML", "Artifact", "Section"]
    direction: Literal["input", "output"]


@dataclass(frozen=True)
class Between:
    """How many paths an input of several takes.

    Attributes:
        least: 1 or more.
        most: ``least`` or more.
    """

    least: int
    most: int


DatasetInput: TypeAlias = Annotated[Path, Artifact("Dataset", "input")]
ModelInput: TypeAlias = Annotated[Path, Artifact("Model", "input")]
FileInput: TypeAlias = Annotated[Path, Artifact("Artifact", "input")]
DatasetOutput: TypeAlias = Annotated[Path, Artifact("Dataset", "output")]
ModelOutput: TypeAlias = Annotated[Path, Artifact("Model", "output")]
HtmlOutput: TypeAlias = Annotated[Path, Artifact("HTML", "output")]
FileOutput: TypeAlias = Annotated[Path, Artifact("Artifact", "output")]
SectionOutput: TypeAlias = Annotated[Path, Artifact("Section", "output")]


@dataclass(frozen=True)
class StepResult:
    """What a step tells its front end, to be printed and tracked.

    Attributes:
        metrics: Final figures by name (``clips``, ``val/top1``, …); those that are no finite numbers are left out, and
            said.
        summary: One line for the terminal.
        confusion: Class names and counts ``[true][predicted]``, for KFP's ClassificationMetrics.
        artifacts: Files or folders worth keeping with the tracked run, by their name there.
        tags: Facts for the tracked run that are not figures.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    summary: str = ""
    confusion: tuple[list[str], list[list[int]]] | None = None
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if broken := sorted(name for name, value in self.metrics.items() if not math.isfinite(value)):
            _LOG.warning("figures that are no numbers are left out: %s", ", ".join(broken))
            finite = {name: value for name, value in self.metrics.items() if name not in broken}
            object.__setattr__(self, "metrics", finite)


@dataclass(frozen=True)
class Shown:
    """What is done with a step's result beside printing its summary.

    Attributes:
        metrics: Its figures are an output of the task, named ``metrics``.
        confusion: Its confusion matrix is one too, named ``classification``.
        tracked: The step is a run in the tracking store.
    """

    metrics: bool = False
    confusion: bool = False
    tracked: bool = True


MeasuredResult: TypeAlias = Annotated[StepResult, Shown(metrics=True)]
ClassifiedResult: TypeAlias = Annotated[StepResult, Shown(metrics=True, confusion=True)]
UntrackedResult: TypeAlias = Annotated[StepResult, Shown(tracked=False)]

Step: TypeAlias = Callable[..., StepResult]


@dataclass(frozen=True)
class Signature:
    """What a step takes and gives, by kind.

    Attributes:
        inputs: Paths that are read.
        optional: Those of them that may be left out.
        lists: Those of them that are several paths, and how many.
        outputs: Paths that are written.
        sections: Sections of a parameter file.
        values: Plain values with their types.
        defaults: Of whatever has one.
        shown: What is done with the result.
        takes_tracker: Whether the step tells the tracking store more than its result.
    """

    inputs: Mapping[str, Artifact]
    optional: frozenset[str]
    lists: Mapping[str, Between]
    outputs: Mapping[str, Artifact]
    sections: Mapping[str, type[Params]]
    values: Mapping[str, type]
    defaults: Mapping[str, Any]
    shown: Shown
    takes_tracker: bool

    @classmethod
    def of(cls, step: Step) -> Signature:
        """Read a step's signature."""
        artifacts: dict[str, Artifact] = {}
        lists: dict[str, Between] = {}
        sections: dict[str, type[Params]] = {}
        values: dict[str, type] = {}
        parameters = inspect.signature(step).parameters
        hints = get_type_hints(step, include_extras=True)
        shown = next((mark for mark in _marks(hints.pop("return", None)) if isinstance(mark, Shown)), Shown())
        takes_tracker = hints.pop("tracker", None) is not None
        for name, hint in hints.items():
            for mark in _marks(hint):
                if isinstance(mark, Artifact):
                    artifacts[name] = mark
                elif isinstance(mark, Between):
                    lists[name] = mark
            if name not in artifacts:
                is_section = isinstance(hint, type) and issubclass(hint, Params)
                (sections if is_section else values)[name] = hint
        defaults = {n: p.default for n, p in parameters.items() if p.default is not inspect.Parameter.empty}
        inputs = {name: artifact for name, artifact in artifacts.items() if artifact.direction == "input"}
        return cls(
            inputs=inputs,
            optional=frozenset(inputs.keys() & defaults.keys()),
            lists=lists,
            outputs={name: artifact for name, artifact in artifacts.items() if artifact.direction == "output"},
            sections=sections,
            values=values,
            defaults=defaults,
            shown=shown,
            takes_tracker=takes_tracker,
        )


def step_names() -> list[str]:
    """All of Kineflow's steps, whatever recipe uses them: the files of ``components/``, sorted."""
    return sorted(path.stem for path in Path(__file__).parents[1].glob("*.py") if path.stem != "__init__")


def load_step(module: str) -> Step:
    """The step of a module, which is called as the module's last word.

    Args:
        module: As ``components.train``, or one of somebody else's package.
    """
    step: Step = getattr(importlib.import_module(module), module.rpartition(".")[2])
    return step


def module_of(step: Step) -> str:
    """Where a step can be imported from, also when its module is what Python was started with (``-m``)."""
    if step.__module__ != "__main__":
        return step.__module__
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else step.__module__


def _marks(hint: Any) -> list[Any]:
    """What a type is annotated with, at any depth."""
    own = list(hint.__metadata__) if get_origin(hint) is Annotated else []
    return own + [mark for part in get_args(hint) for mark in _marks(part)]
