"""What a rehearsal is told to the terminal in."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from pipelines.rehearsal import Rehearsal, RehearsedTask

_GIB = 2**30


def show_rehearsal(rehearsal: Rehearsal) -> None:
    """Print what each stage took, and what the run's own batches are counted to need."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"\nrehearsed on {rehearsal.videos} videos, one step a training; nothing is kept")
    console.print(_table(rehearsal.tasks))
    console.print("GiB. memory: most of the greatest process. counted: of the file's own batch, in float32, at least")
    if smaller := [task for task in rehearsal.tasks if task.clips < task.of_clips]:
        console.print(
            f"with smaller batches than the file's, as this machine's memory, or --memory, has it: "
            f"{', '.join(task.name for task in smaller)}"
        )


def _table(tasks: tuple[RehearsedTask, ...]) -> Table:
    used_gpu = any(task.gpu_bytes for task in tasks)
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "seconds", "memory", *(("GPU",) if used_gpu else ()), "clips at once", "counted"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for task in tasks:
        clips = f"{task.clips} of {task.of_clips}" if task.of_clips else ""
        gpu = [_gib(task.gpu_bytes)] if used_gpu else []
        table.add_row(task.name, f"{task.seconds:.0f}", _gib(task.memory_bytes), *gpu, clips, _gib(task.counted_bytes))
    return table


def _gib(size: float) -> str:
    return f"{size / _GIB:.2f}" if size else ""
