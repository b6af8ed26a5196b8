"""The forms in which one network is run, each on one thread: float32, exported, in bf16 and in int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor

from kineflow.exporting.clip_classifier import ClipClassifier
from kineflow.exporting.onnx_file import write_onnx
from kineflow.exporting.torch_file import write_program
from kineflow.exporting.tracing import traced

Logits = Callable[[Tensor], Tensor]


def forms(classifier: ClipClassifier, folder: Path) -> dict[str, Logits]:
    """Functions from clips uint8 [N,T,H,W,C] to logits [N,K], by name."""
    program, onnx, int8 = folder / "model.pt2", folder / "model.onnx", folder / "int8.onnx"
    write_program(traced(classifier), program)
    write_onnx(traced(classifier), onnx)
    # Of a network of convolutions, int8 for matrix products alone would change a layer or none.
    quantize_dynamic(onnx, int8, op_types_to_quantize=["Conv", "MatMul", "Gemm"], weight_type=QuantType.QUInt8)
    exported = torch.export.load(program).module()

    def in_bf16(clips: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return classifier(clips)[0].float()

    return {
        "eager": lambda clips: classifier(clips)[0],
        "torch.export": lambda clips: exported(clips)[0],
        "ONNX Runtime": _session(onnx),
        "eager, bf16": in_bf16,
        "ONNX Runtime, int8": _session(int8),
    }


def _session(file: Path) -> Logits:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda clips: torch.from_numpy(session.run(["logits"], {"clips": clips.numpy()})[0])
