"""CUDA C++ compiled when it is first used, and launched on PyTorch's streams.

Through NVIDIA's own ``cuda.bindings``: every CUDA build of the PyTorch versions we support requires it, it finds the
compiler (NVRTC) that came with that PyTorch, and it has the driver's calls that clusters need. No compiler, headers or
other package must be installed.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kineflow.storage.errors import KineflowError

Definitions = tuple[tuple[str, int], ...]
"""Macros: (name, value)."""

_ROUNDING = ("--prec-sqrt=false", "--prec-div=false", "--ftz=true")  # the last bit or two for a fraction of the time


def why_not() -> str:
    """Why nothing can be compiled here; empty when it can."""
    if importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None:
        return "cuda-bindings is not installed (pip install cuda-bindings)"
    from cuda.bindings import nvrtc

    try:
        nvrtc.nvrtcVersion()  # loads it
    except RuntimeError:
        return "CUDA's compiler NVRTC is not there; a CUDA build of PyTorch brings it"
    return ""


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel, loaded on one device, with the size of its clusters compiled in.

    Attributes:
        function: The driver's handle; lives as long as the process.
    """

    function: Any

    def clusters_at_once(self, *, cluster: int, threads: int, shared_bytes: int) -> int:
        """Clusters of blocks that the current device can hold at a time; 0 when it cannot hold even one."""
        from cuda.bindings import driver

        config = driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = cluster, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
        config.sharedMemBytes = shared_bytes
        error, clusters = driver.cuOccupancyMaxActiveClusters(self.function, config)
        return int(clusters) if error == driver.CUresult.CUDA_SUCCESS else 0

    def launch(self, *arguments: Any, blocks: int, threads: int, shared_bytes: int) -> None:
        """Run on the current stream of the current device; the arguments are ctypes values, in the kernel's order."""
        from cuda.bindings import driver

        places = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        grid, block = (blocks, 1, 1), (threads, 1, 1)
        stream = torch.cuda.current_stream().cuda_stream
        _check(driver.cuLaunchKernel(self.function, *grid, *block, shared_bytes, stream, ctypes.addressof(places), 0))


def shared_bytes_per_block() -> int:
    """The most shared memory that a block can have on the current device."""
    from cuda.bindings import driver

    most = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    return int(_check(driver.cuDeviceGetAttribute(most, _check(driver.cuCtxGetDevice()))))


@functools.lru_cache(maxsize=64)
def load_kernel(source: Path, name: str, definitions: Definitions, device_index: int) -> Kernel:
    """A kernel of a CUDA C++ file, compiled and loaded once for a device, free to use all its shared memory.

    Raises:
        KineflowError: It does not compile, or the driver refuses it.
    """
    from cuda.bindings import driver

    major, minor = torch.cuda.get_device_capability(device_index)
    code = compile_cuda(source, f"sm_{major}{minor}", definitions)
    with torch.cuda.device(device_index):
        module = _check(driver.cuModuleLoadData(code))
        function = _check(driver.cuModuleGetFunction(module, name.encode()))
        attribute = driver.CUfunction_attribute
        for setting, value in (
            (attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes_per_block()),
            (attribute.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
        ):
            _check(driver.cuFuncSetAttribute(function, setting, value))
    return Kernel(function)


@functools.lru_cache(maxsize=64)
def compile_cuda(source: Path, architecture: str, definitions: Definitions) -> bytes:
    """Machine code of a CUDA C++ file for one architecture, such as ``sm_90``, with macros defined; needs no GPU.

    Raises:
        KineflowError: It does not compile; the message holds the compiler's.
    """
    from cuda.bindings import nvrtc

    options = [f"--gpu-architecture={architecture}", "--std=c++17", "--generate-line-info", *_ROUNDING]
    options += [f"-D{name}={value}" for name, value in definitions]
    program = _check(nvrtc.nvrtcCreateProgram(source.read_bytes(), source.name.encode(), 0, [], []))
    try:
        (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = bytearray(_check(nvrtc.nvrtcGetProgramLogSize(program)))
            _check(nvrtc.nvrtcGetProgramLog(program, log))
            raise KineflowError(f"it does not compile for {architecture}:\n{log.decode().rstrip(chr(0))}", where=source)
        code = bytearray(_check(nvrtc.nvrtcGetCUBINSize(program)))
        _check(nvrtc.nvrtcGetCUBIN(program, code))
        return bytes(code)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _check(answer: tuple[Any, ...]) -> Any:
    """The value that a call of ``cuda.bindings`` returns after its error code, which must be 0."""
    error, *values = answer
    if int(error) != 0:
        raise KineflowError(f"CUDA says {error!r}", remedy="run with another solver, and report this")
    return values[0] if values else None
