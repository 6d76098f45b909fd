"""A connection to a PostgreSQL server that tests cut at a moment of their choice."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import parse_qs, urlsplit


class CuttingProxy:
    """Passes on what clients and a server say to each other, until it cuts all connections.

    New connections can be made right afterwards, as when a network is back at once.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{port}{parts.path}?sslmode=disable"
        self._turn = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._left: int | None = None  # how many messages of clients until the cut
        self._heard = False
        self.messages = 0  # that clients have sent
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, message: int, *, heard: bool) -> None:
        """Cut at a message of a client, the first is 1; the server has ``heard`` it, or not."""
        with self._turn:
            self._left, self._heard = message, heard

    def spare(self) -> bool:
        """Cut nothing any more; returns whether there was a cut."""
        with self._turn:
            was_cut, self._left = self._left is None, None
        return was_cut

    def close(self) -> None:
        """Cut all connections, and take no new ones."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or who waits in `accept` gets one more
        self._listener.close()
        with self._turn:
            self._cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                with self._turn:
                    self._pairs.append((client, server))
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, from_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self._turn:
                    if from_client and self._is_due():
                        if self._heard:
                            target.sendall(data)
                        self._cut()
                        return
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_due(self) -> bool:
        self.messages += 1
        if self._left is None:
            return False
        self._left -= 1
        if self._left > 0:
            return False
        self._left = None
        return True

    def _cut(self) -> None:
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._pairs.clear()
