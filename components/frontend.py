"""The front ends of a step: a command of its own, and the body of a KFP component.

Both read the step's signature (:mod:`components.contract`), check its parameters before anything runs, track the run,
and turn a user's mistake into one message and a non-zero exit.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

from components import distributed
from components.contract import StepResult
from kineflow.data.manifest import MANIFEST_FILE
from kineflow.storage.config import Params, parse_params, read_yaml
from kineflow.storage.disk import full_disk, is_full_disk, translate_full_disk
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, sha256_of
from kineflow.tracking.tracker import NULL_TRACKER

RUN_ID = "KINEFLOW_RUN_ID"  # names the run of a recipe that a step is part of
RECIPE = "KINEFLOW_RECIPE"

Step = Callable[..., StepResult]
_GO_ON = "what was finished is kept; run the same command again to go on"
_MOST_SEED = 2**31 - 1  # what every generator takes, and a KFP number (a double) holds exactly
_LOG = logging.getLogger("kineflow")


@dataclass(frozen=True)
class Signature:
    """What a step takes, by kind: paths in, paths out, parameter sections, and plain values with their types.

    A step that takes no tracker is not a tracked run: it has nothing to tell.
    """

    inputs: tuple[str, ...]
    optional: frozenset[str]
    outputs: tuple[str, ...]
    sections: Mapping[str, type[Params]]
    values: Mapping[str, type]
    defaults: Mapping[str, Any]
    is_tracked: bool = True

    @classmethod
    def of(cls, step: Step) -> Signature:
        """Read a step's signature."""
        inputs, outputs, sections, values = [], [], {}, {}
        parameters = inspect.signature(step).parameters
        for name, hint in get_type_hints(step, include_extras=True).items():
            if name in ("return", "tracker"):
                continue
            marks = [
                mark for part in (hint, *get_args(hint)) if get_origin(part) is Annotated for mark in get_args(part)
            ]
            if "input" in marks:
                inputs.append(name)
            elif "output" in marks:
                outputs.append(name)
            elif isinstance(hint, type) and issubclass(hint, Params):
                sections[name] = hint
            else:
                values[name] = hint
        defaults = {n: p.default for n, p in parameters.items() if p.default is not inspect.Parameter.empty}
        optional = frozenset(name for name in inputs if name in defaults)
        return cls(tuple(inputs), optional, tuple(outputs), sections, values, defaults, "tracker" in parameters)


def load_step(name: str) -> Step:
    """The function of ``components/<name>/step.py``."""
    step: Step = getattr(importlib.import_module(f"components.{name}.step"), name)
    return step


def command(name: str, arguments: list[str] | None = None) -> NoReturn:
    """Run a step as a command: ``python -m components.<name>``, or one of several processes that run it together."""
    distributed.begin_worker()
    say_progress()
    step = load_step(name)
    signature = Signature.of(step)
    parsed = vars(_parser(name, step, signature).parse_args(arguments))
    metrics, classification = parsed.pop("metrics"), parsed.pop("classification")

    def work() -> None:
        given = {key: value for key, value in parsed.items() if value is not None}
        given |= {key: resolve(str(given[key])) for key in signature.sections if key in given}
        given |= {key: _value(key, kind, str(given[key])) for key, kind in signature.values.items() if key in given}
        result = execute(name, step, given)
        if not distributed.is_rank_zero():
            return
        if metrics:
            _write_json(metrics, dict(result.metrics))
        if classification and result.confusion:
            _write_json(classification, dict(zip(("classes", "counts"), result.confusion, strict=True)))

    sys.exit(exit_code(work))


def execute(name: str, step: Step, given: Mapping[str, Any]) -> StepResult:
    """Check the parameters of a step, then run it, tracked if tracking is on.

    A training that asks for several processes is run on them, and tracked by the first of them
    (:mod:`components.distributed`).

    Args:
        name: Of the step.
        step: Its function.
        given: Arguments by name; parameter sections as plain mappings.
    """
    signature = Signature.of(step)
    checked = {key: parse_params(kind, given.get(key, {}), where=key) for key, kind in signature.sections.items()}
    plain = {key: given[key] for key in (*signature.inputs, *signature.outputs, *signature.values) if key in given}
    check_seed(plain.get("seed", 0))
    asked = distributed.asked_for(checked.values())
    if distributed.is_worker():
        distributed.check_worker(name, asked)
    elif asked and asked != (1, 1):
        known = plain | {key: given[key] for key in signature.sections if key in given}
        return distributed.run(name, known, nodes=asked[0], devices=asked[1])
    written = next((Path(plain[key]).parent for key in signature.outputs if key in plain), Path())
    with _tracked(name, given, signature) as tracker, translate_full_disk(written):
        _record_inputs(tracker, plain)
        result = step(**checked, **plain, **({"tracker": tracker} if signature.is_tracked else {}))
        _LOG.info("%s: %s", given.get("name", name), result.summary)
        record = getattr(tracker, "record", None)
        if record:
            record(result.metrics, result.artifacts, result.tags)
    return result


def check_seed(seed: int) -> None:
    """Refuse a seed that some generator would refuse later.

    Raises:
        KineflowError: It is negative, or above 2**31 - 1.
    """
    if not 0 <= seed <= _MOST_SEED:
        raise KineflowError(f"a whole number from 0 to {_MOST_SEED} is expected, not {seed}", where="seed")


def run_in_kfp(
    name: str,
    *,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, Any] | None = None,
    metrics: Any = None,
    classification: Any = None,
) -> None:
    """Run a step as the body of a KFP component.

    Args:
        name: Of the step.
        inputs: Its input artifacts by name; None where an optional one was not given.
        outputs: Its output artifacts by name.
        sections: Its parameter sections.
        values: Its plain values.
        metrics: ``dsl.Metrics`` to fill in.
        classification: ``dsl.ClassificationMetrics`` to fill in.
    """
    say_progress()

    def work() -> None:
        paths = {key: Path(artifact.path) for key, artifact in (*inputs.items(), *outputs.items()) if artifact}
        result = execute(name, load_step(name), {**paths, **sections, **(values or {})})
        for figure, value in result.metrics.items():
            if metrics is not None:
                metrics.log_metric(figure, float(value))
        if classification is not None and result.confusion:
            classification.log_confusion_matrix(*result.confusion)

    code = exit_code(work)
    if code:
        sys.exit(code)


def say_progress() -> None:
    """Let Kineflow's own log lines through to standard error; other libraries only warn."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger().setLevel(logging.WARNING)  # KFP's executor has let every library speak
    _LOG.setLevel(logging.INFO if distributed.is_rank_zero() else logging.WARNING)
    if distributed.restarts_done():
        _LOG.info("a process was lost; all were started again, and go on from the last round")


def exit_code(work: Callable[[], None]) -> int:
    """Run ``work``; print a user's mistake as one message, and say how to go on.

    Returns:
        0, or 2 for a mistake, 28 for a full disk, 130 after Ctrl-C (said in the words of the ``KeyboardInterrupt``
        where it has any).
    """
    try:
        work()
    except KineflowError as error:
        return _say_mistake(error)
    except KeyboardInterrupt as stop:
        if distributed.LAUNCH not in os.environ:  # else the launcher says it
            print(f"interrupted: {stop.args[0] if stop.args else _GO_ON}", file=sys.stderr)  # noqa: T201
        return 130
    except Exception as error:
        if not is_full_disk(error):
            raise
        return _say_mistake(full_disk(getattr(error, "filename", None)))
    return 0


def _say_mistake(error: KineflowError) -> int:
    if not distributed.hand_over(error):
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


def resolve(text: str) -> Any:
    """A value on the command line: ``FILE.yaml:KEY`` (one key of a file), JSON, or else the text itself."""
    if _names_a_key(text):
        path, _, key = text.rpartition(":")
        values = read_yaml(Path(path))
        if key not in values:
            raise KineflowError(f"no section {key!r}; there are {', '.join(map(str, values))}", where=path)
        return values[key]
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _names_a_key(text: str) -> bool:
    return text.rpartition(":")[0].endswith((".yaml", ".yml"))


def _parser(name: str, step: Step, signature: Signature) -> argparse.ArgumentParser:
    description, about = _documented(step)
    parser = argparse.ArgumentParser(
        prog=f"python -m components.{name}",
        description=description,
        epilog="\n\n".join(_keys(key, kind) for key, kind in signature.sections.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    inputs, outputs, settings = (parser.add_argument_group(title) for title in ("inputs", "outputs", "parameters"))
    for key in signature.inputs:
        required = key not in signature.optional
        inputs.add_argument(_flag(key), type=Path, required=required, metavar="PATH", help=about.get(key))
    for key in signature.outputs:
        outputs.add_argument(_flag(key), type=Path, required=True, metavar="PATH", help=about.get(key))
    outputs.add_argument("--metrics", type=Path, metavar="FILE", help="write the final figures here, as JSON")
    outputs.add_argument("--classification", type=Path, metavar="FILE", help="write the confusion matrix here, as JSON")
    for key in signature.sections:
        settings.add_argument(_flag(key), metavar="FILE.yaml:SECTION", help="or JSON; its keys are listed below")
    for key, value_type in signature.values.items():
        required = key not in signature.defaults
        default = "" if required else f"; {str(signature.defaults[key]).lower()} by default"
        text = f"{about.get(key, '')} ({value_type.__name__}, or FILE.yaml:KEY{default})".strip()
        settings.add_argument(_flag(key), required=required, metavar=key.upper(), help=text)
    return parser


def _documented(step: Step) -> tuple[str, dict[str, str]]:
    """A step's description for ``--help``, and what its docstring says of each argument."""
    description, _, rest = (inspect.getdoc(step) or "").partition("\nArgs:\n")
    about: dict[str, str] = {}
    for line in textwrap.dedent(rest.partition("\n\n")[0]).splitlines():
        key, colon, text = line.partition(": ")
        if colon and key.isidentifier():
            about[key] = text
        elif about:
            about[next(reversed(about))] += f" {line.strip()}"
    return _plain(description.partition("\nRaises:")[0].strip()), {
        key: _plain(text).replace("%", "%%") for key, text in about.items()
    }


def _plain(text: str) -> str:
    """Without the marks of reStructuredText."""
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")


def _keys(section: str, kind: type[Params]) -> str:
    """A section's keys with their defaults, as a block of YAML."""
    lines = [f"keys of {_flag(section)} and their defaults:"]
    for key, field in kind.model_fields.items():
        default = "(required)" if field.is_required() else field.get_default(call_default_factory=True)
        for part, value in _flat(key, default):
            lines.append(f"  {part}: {value if isinstance(value, str) and value else json.dumps(value)}")
    return "\n".join(lines)


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Params):
        for below, part in value.model_dump(mode="json").items():
            yield from _flat(f"{key}.{below}", part)
    else:
        yield key, value


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _value(key: str, kind: type, text: str) -> Any:
    value = text if kind is str and not _names_a_key(text) else resolve(text)  # a name may look like JSON
    if kind is float and type(value) is int:
        value = float(value)
    if kind is bool and value in (0, 1):
        value = bool(value)
    if type(value) is not kind:
        raise KineflowError(f"{value!r} is no {kind.__name__}", where=_flag(key), remedy="correct the argument")
    return value


def _write_json(path: Path, content: object) -> None:
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _record_inputs(tracker: Any, given: Mapping[str, Any]) -> None:
    log_dataset = getattr(tracker, "log_dataset", None)
    manifest = given["clips"] / MANIFEST_FILE if "clips" in given else None
    if log_dataset and manifest and manifest.is_file():
        log_dataset("clips", version=sha256_of(manifest), source=str(given["clips"]))


def _tracked(name: str, given: Mapping[str, Any], signature: Signature) -> AbstractContextManager[Any]:
    """A tracked run of this step, when it is part of a run of a recipe or a tracking store is named."""
    wanted = any(os.environ.get(variable) for variable in (RUN_ID, "DVC_STAGE", "MLFLOW_TRACKING_URI"))
    if not (wanted and signature.is_tracked and distributed.is_rank_zero()):
        return nullcontext(NULL_TRACKER)
    from kineflow.tracking.runs import open_step_run

    settings = {key: given[key] for key in (*signature.sections, *signature.values) if key in given}
    return open_step_run(
        str(given.get("name", name)),
        params=settings,
        experiment=os.environ.get(RECIPE, "kineflow"),
        tags={"component": name},
        pipeline_run_id=os.environ.get(RUN_ID),
    )
