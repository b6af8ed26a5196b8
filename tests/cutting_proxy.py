"""A TCP proxy before a server, which tests slow down and cut like a bad network."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_CHUNK_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, as a broken connection does


class CuttingProxy:
    """Passes every connection on to a server until told otherwise.

    Attributes:
        endpoint_url: Where it listens.
        connections: How many it has accepted.
        sent: Bytes passed on from clients to the server.
        received: Bytes passed back.
        cuts: How many times it has cut.
    """

    def __init__(self, target_url: str) -> None:
        target = urlsplit(target_url)
        self._target = (target.hostname or "", target.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = self.sent = self.received = self.cuts = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._pace = 0.0
        self._sent_limit = self._received_limit = 0
        self._stays_down = self._down = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, *, sent: int = 0, received: int = 0, stay_down: bool = False) -> None:
        """Break all connections once this many more bytes have passed in one direction.

        Args:
            sent: From clients to the server; 0: do not count these.
            received: From the server to clients; likewise.
            stay_down: Also refuse what is tried after that, until :meth:`mend`.
        """
        with self._lock:
            self._sent_limit = self.sent + sent if sent else 0
            self._received_limit = self.received + received if received else 0
            self._stays_down = stay_down

    def slow_down(self, bytes_per_sec: float) -> None:
        """Pass no more than this through each connection and direction."""
        self._pace = bytes_per_sec

    def mend(self) -> None:
        """Pass everything on again."""
        with self._lock:
            self._sent_limit = self._received_limit = 0
            self._down = False
        self._pace = 0.0

    def close(self) -> None:
        """Stop listening, and break what is open."""
        self._listener.close()
        self._break_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._down:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._open |= {client, server}
            for source, sink, outwards in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, sink, outwards), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, outwards: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                if self._pace:
                    time.sleep(len(data) / self._pace)
                if self._count(len(data), outwards):
                    self._break_all()
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size: int, outwards: bool) -> bool:
        """Count what is about to pass; whether the connections are to be cut instead."""
        with self._lock:
            if outwards:
                self.sent += size
            else:
                self.received += size
            over_sent = self._sent_limit and self.sent >= self._sent_limit
            over_received = self._received_limit and self.received >= self._received_limit
            if not (over_sent or over_received):
                return False
            self._sent_limit = self._received_limit = 0
            self._down = self._stays_down
            self.cuts += 1
            return True

    def _break_all(self) -> None:
        with self._lock:
            broken, self._open = self._open, set()
        for each in broken:
            _reset(each)


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
    connection.close()


@contextmanager
def cutting_proxy(target_url: str) -> Iterator[CuttingProxy]:
    """Run a proxy inside the block."""
    proxy = CuttingProxy(target_url)
    try:
        yield proxy
    finally:
        proxy.close()
