"""Runs the server in this process until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn

from memkit import AsyncMemory, Memory
from memkit.errors import InvalidInputError
from memkit.server.http.api_keys import ApiKey, KeyFile
from memkit.server.http.gate import LAST_WORDS
from memkit.server.http.http_app import create_app
from memkit.server.http.serving_limits import Limits
from memkit.server.listening import listen, url_of
from memkit.server.loopback import is_loopback
from memkit.types import Sampling
from memkit.types.validate import shown

logger = logging.getLogger(__name__)

# On stderr; neither memkit nor the gate logs what is stored or asked.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        name: {"handlers": ["stderr"], "level": "INFO", "propagate": False}
        for name in ("uvicorn", "memkit")
    },
}


class _Server(uvicorn.Server):
    """Ends in peace at the first signal, and at once at the second."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and log where."""
        await super().startup(sockets)
        for listening in sockets or ():
            logger.info("running on %s (Ctrl-C ends it)", url_of(listening))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server.handle_exit`."""
        if self.should_exit:  # it may be training, which no thread can be interrupted in
            os._exit(128 + sig)
        super().handle_exit(sig, frame)


def check_reach(host: str, keys: KeyFile | ApiKey) -> None:
    """Refuse to serve other machines without keys.

    Raises:
        InvalidInputError: If others could reach the memory without one.
    """
    if isinstance(keys, ApiKey) and not is_loopback(host):
        raise InvalidInputError(
            f"without keys only this machine is served, got the host {shown(host)}",
            "Give a key file with --keys, or leave --host out.",
        )


def run(
    memory: Memory,
    keys: KeyFile | ApiKey,
    limits: Limits,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    remember: bool = True,
) -> None:
    """Serve a memory until SIGTERM or SIGINT; then requests under way are finished.

    The port is taken first, then the models are loaded: clients that come meanwhile wait.

    A second signal ends the process at once; what is committed is safe, what is being trained is
    not kept.

    Args:
        memory: Open; it is closed at the end.
        keys: Who may reach which scope.
        limits: How much is taken on.
        host: The address to listen at.
        port: The port; 0 for one that is free.
        remember: Whether conversations are stored, unless a request says otherwise.

    Raises:
        InvalidInputError: If others could reach the memory without a key, or the port is taken.
        ModelUnavailableError: If there is no base model.
    """
    check_reach(host, keys)
    with listen(host, port) as listening:
        app = create_app(AsyncMemory(memory), keys, limits, remember=remember)
        config = uvicorn.Config(
            app,
            access_log=False,  # the gate logs, without what paths may say
            log_config=LOGGING,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=int(limits.seconds + LAST_WORDS) + 1,
            ws="none",
        )
        logger.info("loading the models; this may take a while")
        warm_up(memory)
        # uvicorn raises the signal once more when it is done: to stop as told is no failure.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _Server(config).run(sockets=[listening])


def warm_up(memory: Memory) -> None:
    """Load the models now, so that what is missing is known, and the first question is fast."""
    _ = memory.vectors.embedder
    memory.ask("Hello", 0, modules=[], sampling=Sampling(max_new_tokens=1))
