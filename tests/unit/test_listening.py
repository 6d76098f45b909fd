"""The port of a server, taken before anything else is done."""

import errno
import socket

import pytest

from memkit.errors import InvalidInputError
from memkit.server.listening import listen, url_of


def test_a_port_is_taken_and_can_be_connected_to():
    with listen("localhost", 0) as listening:
        port = listening.getsockname()[1]
        assert url_of(listening) == f"http://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(InvalidInputError, match=f"port {port} of 127.0.0.1 is taken") as raised:
            listen("127.0.0.1", port)
    assert "--port" in raised.value.hint


def test_an_address_of_ipv6_is_written_in_brackets():
    class Listening:
        def getsockname(self):
            return "::1", 8000, 0, 0

    assert url_of(Listening()) == "http://[::1]:8000"


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(InvalidInputError, match=r"address of this machine .* got '192\.0\.2\.1'"):
        listen("192.0.2.1", 0)  # set aside for examples


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "no"), "may not listen at port 80"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "an address of this machine"),
        (OSError(errno.ENOBUFS, "no buffers"), "cannot listen at port 80 of here: no buffers"),
    ],
)
def test_what_the_system_refuses_is_told(monkeypatch, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(InvalidInputError, match=message):
        listen("here", 80)
