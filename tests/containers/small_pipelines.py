"""Pipelines small enough to run often; KFP reads their source."""

from kfp import dsl

from components.frontend.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fails(kind: str, left: dsl.Output[dsl.Dataset]) -> None:
    import os
    from pathlib import Path

    print("about to fail", flush=True)  # noqa: T201
    Path(left.path).write_text("half a result")
    if kind == "raises":
        raise ValueError("as it was meant to")
    os._exit(3)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def comes_after(left: dsl.Input[dsl.Dataset], right: dsl.Output[dsl.Dataset]) -> None:
    from pathlib import Path

    Path(right.path).write_text("has run")


@dsl.pipeline(name="failing")
def failing(kind: str = "exits") -> None:
    comes_after(left=fails(kind=kind).outputs["left"])


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def look_around(data: str) -> dict:  # type: ignore[type-arg]
    import errno
    import os
    import socket
    from pathlib import Path

    def refusal(path: str) -> str:
        try:
            Path(path).write_text("changed")
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "written"

    def network() -> str:
        try:
            socket.create_connection(("192.0.2.1", 9), timeout=3).close()
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, "none")
        return "reached"

    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return {
        "uid": str(os.getuid()),
        "capabilities": status["CapEff"],
        "new_privileges": status["NoNewPrivs"],
        "read": (Path(data) / "clip").read_text(),
        "data": refusal(f"{data}/clip"),
        "beside": refusal(f"{data}/other"),
        "system": refusal("/opt/kineflow/kineflow/__init__.py"),
        "root": refusal("/file"),
        "temporary": refusal("/tmp/file"),
        "network": network(),
    }
