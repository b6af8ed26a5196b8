"""A step as a command: ``python -m components.<step>``, with arguments and help from the step's signature."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from components.frontend.contract import Signature, Step, module_of
from components.frontend.docstrings import documented, plain_text
from components.frontend.exits import exit_code, say_progress
from components.frontend.lifeline import end_with_run
from components.frontend.run import execute
from components.frontend.section_help import section_help
from components.launch.worker import init_worker, is_main_process
from kineflow.storage.config import read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.storage.safe_json import parse_json


def command(step: Step, arguments: list[str] | None = None) -> NoReturn:
    """Run a step as a command, or as one of several processes that run it together.

    Args:
        step: The function.
        arguments: Those of this process when None.
    """
    init_worker()
    end_with_run()
    say_progress()
    signature = Signature.of(step)
    parsed = vars(_parser(step, signature).parse_args(arguments))
    metrics, classification = parsed.pop("metrics"), parsed.pop("classification", None)

    def work() -> None:
        given = {key: value for key, value in parsed.items() if value is not None}
        given |= {key: resolve(str(given[key])) for key in signature.sections if key in given}
        given |= {key: _value(key, kind, str(given[key])) for key, kind in signature.values.items() if key in given}
        result = execute(step, given)
        if not is_main_process():
            return
        if metrics:
            _write_json(metrics, dict(result.metrics))
        if classification and result.confusion:
            _write_json(classification, dict(zip(("classes", "counts"), result.confusion, strict=True)))

    sys.exit(exit_code(work))


def resolve(text: str) -> Any:
    """A value on the command line: ``FILE.yaml:KEY`` (one key of a file), JSON, or else the text itself."""
    if _names_a_key(text):
        path, _, key = text.rpartition(":")
        values = read_yaml(Path(path))
        if key not in values:
            raise KineflowError(f"no section {key!r}; there are {', '.join(map(str, values))}", where=path)
        return values[key]
    try:
        return parse_json(text)
    except ValueError:
        return text


def _names_a_key(text: str) -> bool:
    return text.rpartition(":")[0].endswith((".yaml", ".yml"))


def _parser(step: Step, signature: Signature) -> argparse.ArgumentParser:
    description, about = documented(inspect.getdoc(step) or "", "Args")
    parser = argparse.ArgumentParser(
        prog=f"python -m {module_of(step)}",
        description=plain_text(description),
        epilog="\n\n".join(section_help(_flag(key), kind) for key, kind in signature.sections.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    inputs, outputs, settings = (parser.add_argument_group(title) for title in ("inputs", "outputs", "parameters"))
    meaning = {key: plain_text(text).replace("%", "%%") for key, text in about.items()}
    for key in signature.inputs:
        several: dict[str, Any] = {"nargs": "+"} if key in signature.lists else {}
        required = key not in signature.optional
        inputs.add_argument(_flag(key), type=Path, required=required, metavar="PATH", help=meaning.get(key), **several)
    for key in signature.outputs:
        outputs.add_argument(_flag(key), type=Path, required=True, metavar="PATH", help=meaning.get(key))
    outputs.add_argument("--metrics", type=Path, metavar="FILE", help="write the final figures here, as JSON")
    if signature.shown.confusion:
        help_text = "write the confusion matrix here, as JSON"
        outputs.add_argument("--classification", type=Path, metavar="FILE", help=help_text)
    for key in signature.sections:
        settings.add_argument(_flag(key), metavar="FILE.yaml:SECTION", help="or JSON; its keys are listed below")
    for key, value_type in signature.values.items():
        required = key not in signature.defaults
        default = "" if required else f"; {str(signature.defaults[key]).lower()} by default"
        text = f"{meaning.get(key, '')} ({value_type.__name__}, or FILE.yaml:KEY{default})".strip()
        settings.add_argument(_flag(key), required=required, metavar=key.upper(), help=text)
    return parser


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
