"""Reading a file that nobody vouches for in a process of its own, which the system ends where it takes too much.

The readers are bounded by themselves. This is the second wall: memory, processor time and the size of what is written
are limited by the system, and nothing but tensors comes back, as safetensors: ``python -P -m … FILE RESULT``, so that
no code beside the file, or in the folder at hand, is on Python's path.
"""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kineflow.models.download import require_size
from kineflow.models.safetensors_file import read_header
from kineflow.models.weight_formats.bounds import memory_for
from kineflow.models.weight_formats.formats import format_of
from kineflow.storage.disk import is_full_disk
from kineflow.storage.errors import KineflowError, first_line

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_BYTES = 4 << 30
MOST_CPU_SEC = 300

_SPARE_BYTES = 256 << 20  # what writing takes, in addresses
_REFUSED = 3
_TOO_MUCH = ("MemoryError", "File too large")


def read_confined(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of one of the forms of :mod:`kineflow.models.weight_formats.formats`, on the CPU.

    Raises:
        KineflowError: It is damaged, of another form, or takes more memory or time than a file of its size may.
    """
    from safetensors.torch import load_file

    form = format_of(path.name)
    assert form is not None  # whoever calls has looked
    require_size(path.stat().st_size, LARGEST_BYTES, where=str(path))
    try:
        with tempfile.TemporaryDirectory(prefix="kineflow-weights-") as folder:
            result = Path(folder, "weights.safetensors")
            _convert(path, result, form.title)
            read_header(result)
            return load_file(result)
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise _full_temporary_folder() from None


def _convert(path: Path, result: Path, title: str) -> None:
    """Have the tensors of ``path`` in ``result``, by a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__, str(path.absolute()), str(result)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == errno.ENOSPC:
        raise _full_temporary_folder()
    if done.returncode == _REFUSED:
        problem = f"not readable as a file of {title}: {done.stdout.strip()}"
        raise KineflowError(problem, where=path, remedy="get the file again, or one of a form that is read")
    if done.returncode:
        is_too_much = done.returncode < 0 or any(words in done.stderr for words in _TOO_MUCH)
        said = "it takes more memory or time than a file of its size may" if is_too_much else _last_line(done.stderr)
        raise KineflowError(
            f"not readable as a file of {title}: {said}", where=path, remedy="give the file as it was published"
        )


def _full_temporary_folder() -> KineflowError:
    return KineflowError(
        "no space left in the folder for temporary files",
        where=tempfile.gettempdir(),
        remedy="free some, or have TMPDIR name a folder on another disk",
        exit_code=errno.ENOSPC,
    )


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type as this machine orders its bytes."""
    return dtype.newbyteorder("=")


def _main(path: Path, result: Path) -> int:
    from safetensors.numpy import save_file

    form = format_of(path.name)
    try:
        _limit(memory_for(path.stat().st_size) + path.stat().st_size)
        assert form is not None
        arrays = form.read(path)
        save_file({name: np.ascontiguousarray(array, _plain(array.dtype)) for name, array in arrays.items()}, result)
    except Exception as error:
        if is_full_disk(error):
            return errno.ENOSPC
        if not isinstance(error, OSError | ValueError | OverflowError):
            raise
        sys.stdout.write(first_line(error))
        return _REFUSED
    return 0


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "nothing is known of why")


def _limit(memory: int) -> None:
    """As far as this system has limits."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        import psutil

        resource.setrlimit(resource.RLIMIT_FSIZE, (memory + _SPARE_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_SEC, MOST_CPU_SEC))
        addresses = psutil.Process().memory_info().vms + 2 * memory + _SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (addresses, addresses))


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), Path(sys.argv[2])))
