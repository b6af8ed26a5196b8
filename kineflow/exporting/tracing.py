"""A network as torch's exported program: a graph for clips of one shape, any number of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from kineflow.exporting.clip_classifier import ClipClassifier, random_clips
from kineflow.storage.errors import KineflowError

_TRACED_CLIPS = 2  # of one, torch takes the size for a constant
_PRIVATE = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node")  # paths of this machine, for debugging


def traced(classifier: ClipClassifier) -> ExportedProgram:
    """Trace a classifier that is in evaluation mode, on the CPU.

    Raises:
        KineflowError: The network does something that no graph can hold.
    """
    clips = random_clips(classifier.preprocessing, _TRACED_CLIPS)
    try:
        with torch.no_grad():
            program: ExportedProgram = torch.export.export(
                classifier, (clips,), dynamic_shapes=({0: Dim("batch", min=1)},)
            )
            program = program.run_decompositions({torch.ops.aten.median.dim: _median})
    except (KineflowError, OSError):
        raise
    except Exception as error:  # whatever a network's own code raises when it is given symbols
        raise not_exportable(error) from error
    for node in program.graph.nodes:
        for key in _PRIVATE:
            node.meta.pop(key, None)
    return program


def not_exportable(error: Exception) -> KineflowError:
    """The error to raise where torch can make no graph, or no ONNX, of a network."""
    reason = (str(error) or type(error).__name__).strip().splitlines()[0]
    return KineflowError(
        f"the network cannot be exported: {reason}",
        remedy="let no branch or loop of its forward depend on values, or on the number of clips; "
        "or run the bundle itself, by kineflow predict or kineflow serve",
    )


def _median(values: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """ONNX has no median, but it can sort; of an even number it is the lower one, as torch has it."""
    ordered, places = values.sort(dim=dim)
    middle = (values.shape[dim] - 1) // 2
    found = ordered.narrow(dim, middle, 1), places.narrow(dim, middle, 1)
    return found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim))
