"""Takes the port that a server listens at, before anything that takes time is done."""

from __future__ import annotations

import errno
import socket

from memkit.errors import InvalidInputError
from memkit.types.validate import shown


def listen(host: str, port: int) -> socket.socket:
    """Take a port, so that clients can connect; they wait until something answers.

    Args:
        host: The address to listen at, or its name.
        port: The port; 0 for one that is free.

    Raises:
        InvalidInputError: If the port is taken or not allowed, or the address is not this
            machine's.
    """
    try:
        family = _family(host, port)
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InvalidInputError(*_told(error, host, port)) from error


def url_of(listening: socket.socket) -> str:
    """The URL at which a socket can be reached, without a path."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _family(host: str, port: int) -> socket.AddressFamily:
    """IPv4 where a name has both: clients that are given 127.0.0.1 have to find it."""
    found = {family for family, *_ in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    return socket.AF_INET if socket.AF_INET in found else socket.AF_INET6


def _told(error: OSError, host: str, port: int) -> tuple[str, str]:
    """What is wrong with an address, and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken by another program",
            "Give another port with --port, or --port 0 for any that is free.",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return (
            f"this user may not listen at port {port}",
            "Give a port above 1023 with --port.",
        )
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return (
            f"expected an address of this machine as the host, got {shown(host)}",
            "Give --host 127.0.0.1 for this machine alone, or 0.0.0.0 for all of its addresses.",
        )
    return f"cannot listen at port {port} of {host}: {error.strerror}", ""
