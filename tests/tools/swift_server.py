"""A throw-away OpenStack Swift with its S3 API.

::

    .tools/swift/bin/python tests/tools/swift_server.py FOLDER [ACCOUNT:USER KEY]

Runs in the environment that ``tests/tools/install.sh`` makes, not in the project's. Four servers keep everything below
FOLDER, which must be on a file system with extended attributes (ext4, xfs, btrfs). When all of them answer, one line is
printed: ``READY http://127.0.0.1:PORT``. The servers end with this process, which ends when its standard input closes:
a test run that is killed leaves none behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from swift.common.ring import RingBuilder

STORES = ("account", "container", "object")
ATTEMPTS = 5  # another program may take a free port before the server that it was found for
SECONDS_TO_START = 30
FILTERS = {
    "catch_errors": "",
    "gatekeeper": "",
    "healthcheck": "",
    "listing_formats": "",
    "bulk": "",
    "s3api": "location=us-east-1",
    "tempauth": "user_{user}={key} .admin",
    "copy": "",
    "slo": "",
    "dlo": "",
    "versioned_writes": "allow_versioned_writes=true\nallow_object_versioning=true",
    "symlink": "",
}


def main(folder: Path, access_key: str = "test:tester", secret_key: str = "testing") -> None:
    """Start the servers and stay until standard input closes or a signal comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for _ in range(ATTEMPTS):
        ports = dict(zip((*STORES, "proxy"), free_ports(len(STORES) + 1), strict=True))
        configure(folder, ports, access_key, secret_key)
        servers = start(folder, ports)
        try:
            if all_answer(servers, ports):
                print(f"READY http://127.0.0.1:{ports['proxy']}", flush=True)  # noqa: T201
                sys.stdin.read()
                return
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait()
    sys.exit(f"Swift did not start; its logs are in {folder}")


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def configure(folder: Path, ports: dict[str, int], access_key: str, secret_key: str) -> None:
    """Write the settings of the four servers, and where each store keeps its one copy."""
    filters = FILTERS | {"tempauth": FILTERS["tempauth"].format(user=access_key.replace(":", "_"), key=secret_key)}
    etc = folder / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    (folder / "srv" / "d1").mkdir(parents=True, exist_ok=True)
    (etc / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix=t\nswift_hash_path_suffix=t\n[storage-policy:0]\nname=one\ndefault=yes\n"
    )
    common = (
        f"swift_dir={etc}\nbind_ip=127.0.0.1\nworkers=0\nuser={os.environ.get('USER', 'root')}\nlog_level=WARNING\n"
    )
    for store in STORES:
        (etc / f"{store}.conf").write_text(
            f"[DEFAULT]\n{common}bind_port={ports[store]}\ndevices={folder / 'srv'}\nmount_check=false\n"
            f"disable_fallocate=true\n[pipeline:main]\npipeline={store}-server\n"
            f"[app:{store}-server]\nuse=egg:swift#{store}\n"
        )
        one_copy(ports[store]).save(str(etc / f"{store}.ring.gz"))
    (etc / "proxy.conf").write_text(
        f"[DEFAULT]\n{common}bind_port={ports['proxy']}\n"
        f"[pipeline:main]\npipeline={' '.join(filters)} proxy-server\n"
        "[app:proxy-server]\nuse=egg:swift#proxy\naccount_autocreate=true\n"
        + "".join(f"[filter:{name}]\nuse=egg:swift#{name}\n{settings}\n" for name, settings in filters.items())
    )


def one_copy(port: int) -> object:
    """Swift's map of data to disks, for one disk behind one server."""
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    address = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1.0, **address})
    builder.rebalance()
    return builder.get_ring()


def start(folder: Path, ports: dict[str, int]) -> list[subprocess.Popen[bytes]]:
    """Start the servers; each writes a log of its name into ``folder``."""
    servers = []
    for name in ports:
        program = Path(sys.executable).parent / f"swift-{name}-server"
        with (folder / f"{name}.log").open("wb") as log:
            servers.append(
                subprocess.Popen(
                    [program, folder / "etc" / f"{name}.conf"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    return servers


def all_answer(servers: list[subprocess.Popen[bytes]], ports: dict[str, int]) -> bool:
    """Wait until every server answers; False when one has ended or the time is up."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and all(server.poll() is None for server in servers):
        try:
            for store in STORES:
                socket.create_connection(("127.0.0.1", ports[store]), timeout=1).close()
            urllib.request.urlopen(f"http://127.0.0.1:{ports['proxy']}/healthcheck", timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
