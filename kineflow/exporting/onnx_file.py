"""ONNX: written by torch's exporter, run by ONNX Runtime."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from kineflow.exporting.formats import INPUT_NAME, OUTPUT_NAMES
from kineflow.exporting.tracing import not_exportable
from kineflow.storage.errors import KineflowError

OPSET = 20
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_MOST_BYTES = 2**31 - 2**26  # of protobuf, less what the graph itself takes
_ERRORS_ONLY = 3


def require_onnx() -> None:
    """Check that what writes and runs ONNX is installed.

    Raises:
        KineflowError: It is not.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise KineflowError(
            f"not installed, and ONNX needs it: {', '.join(missing)}",
            remedy="install Kineflow's extra 'export': in its checkout, pip install -c constraints.txt -e '.[export]'",
        )


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write a program as one ONNX file; its input and outputs have the names of :mod:`kineflow.exporting.formats`.

    Raises:
        KineflowError: It has an operation that ONNX lacks, or 2 GB of weights.
    """
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > _MOST_BYTES:
        raise KineflowError(f"{size / 1e9:.1f} GB of weights are too much for one ONNX file", remedy="use --to torch")
    try:
        with torch.no_grad():
            written = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, input_names=[INPUT_NAME], output_names=list(OUTPUT_NAMES),
                verbose=False, external_data=False,
            )  # fmt: skip
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise not_exportable(error.__cause__ if isinstance(error.__cause__, Exception) else error) from error
    assert written is not None
    for function in (written.model.graph, *written.model.functions.values()):
        for node in function:
            node.metadata_props.clear()  # paths and source lines of this machine
    written.save(path, external_data=False)


def run_onnx(path: Path, clips: Tensor) -> tuple[Tensor, ...]:
    """The outputs of an ONNX file on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return tuple(torch.from_numpy(output) for output in session.run(None, {INPUT_NAME: clips.numpy()}))
