"""Runs the server: over stdin and stdout, or over streamable HTTP."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn

from memkit.memory.async_memory import AsyncMemory
from memkit.memory.memory import Memory
from memkit.server.listening import listen, url_of
from memkit.server.mcp.http_access import Access, check_reach, header_checks
from memkit.server.mcp.mcp_server import memory_server
from memkit.types import Scope

STOPS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 10  # seconds that a stop waits for requests that are under way


def serve_stdio(memory: Memory, scope: Scope) -> None:
    """Serve one client over stdin and stdout, until it closes stdin.

    While it serves, whatever else writes to the standard output writes to the standard error.
    The memory is closed at the end. Ctrl-C ends the process at once, which loses nothing that
    was acknowledged: otherwise it would wait for the next line that is read.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _serve(memory, lambda shared: memory_server(shared, scope).run_stdio_async())


def serve_http(
    memory: Memory, scope: Scope, *, host: str, port: int, access: Access | None = None
) -> None:
    """Serve clients over streamable HTTP at ``/mcp``, until the process is told to stop.

    Its address is printed to the standard error. The memory is closed at the end.

    Args:
        memory: Open already.
        scope: Whose knowledge clients see.
        host: The address to listen on.
        port: 0 for any that is free.
        access: Who may reach it; None for everybody on this machine.

    Raises:
        InvalidInputError: If other machines would reach it without a token, or the port is taken.
    """
    check_reach(host, access)
    with listen(host, port) as listening:

        async def run(shared: AsyncMemory) -> None:
            server = memory_server(shared, scope, access=access)
            app = server.streamable_http_app(host=host, transport_security=header_checks(host))
            config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=PATIENCE)
            await _Server(config).serve(sockets=[listening])

        _serve(memory, run)


class _Server(uvicorn.Server):
    """Stops when the process is told to, and lets the memory be closed then.

    The base class would end the process by the same signal, before anything else is done.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and print where."""
        await super().startup(sockets)
        for listening in sockets or ():
            sys.stderr.write(f"serving at {url_of(listening)}/mcp\n")
            sys.stderr.flush()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal that comes during the block; only the main thread gets signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in STOPS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in STOPS:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)  # the next one does not wait for training


def _serve(memory: Memory, run: Callable[[AsyncMemory], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncMemory(memory) as shared:
            await run(shared)

    asyncio.run(main())
