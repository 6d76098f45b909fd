"""Who may reach the server over HTTP: this machine, or whoever has the token."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl

from memkit.errors import InvalidInputError
from memkit.server.loopback import is_loopback
from memkit.types.validate import shown

SHORTEST = 16  # characters of a token; shorter ones can be guessed


@dataclass(frozen=True)
class Access(TokenVerifier):
    """Lets in whoever sends the token; implements the SDK's ``TokenVerifier``."""

    token: str

    def __post_init__(self) -> None:
        if len(self.token) < SHORTEST or not self.token.isascii() or not self.token.isprintable():
            raise InvalidInputError(
                f"expected a token of at least {SHORTEST} printable ASCII characters, "
                f"got {len(self.token)} characters",
                "python -c 'import secrets; print(secrets.token_urlsafe())' makes one.",
            )

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Read the token from a file; blanks and line ends around it do not count.

        Raises:
            InvalidInputError: If it is too short, or holds something else than ASCII.
        """
        return cls(path.read_text(encoding="utf-8", errors="replace").strip())

    def __repr__(self) -> str:
        return "Access(token=...)"

    @property
    def settings(self) -> AuthSettings:
        """What the SDK is told; no authorization server is run, so none is advertised."""
        issuer = AnyHttpUrl("http://localhost")  # required, and used for nothing
        return AuthSettings(issuer_url=issuer, resource_server_url=None)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Accept the token alone, in a time that does not tell how much of it was right."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        return AccessToken(token=token, client_id="memkit", scopes=[])


def check_reach(host: str, access: Access | None) -> None:
    """Refuse to serve other machines without a token.

    Raises:
        InvalidInputError: If the host is not a loopback address, and there is no token.
    """
    if access is None and not is_loopback(host):
        raise InvalidInputError(
            f"expected a loopback `host` such as 127.0.0.1, got {shown(host)}: whoever reaches it "
            "could read and change the memory",
            "Give a token with --token-file, or leave --host out.",
        )


def header_checks(host: str) -> TransportSecuritySettings:
    """Which ``Host`` and ``Origin`` headers are accepted: protection from DNS rebinding.

    A browser can be made to send requests to a loopback address, but not under a name of this
    list. On other addresses the token protects: no browser knows it.
    """
    if not is_loopback(host):
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    names = [f"[{host}]" if ":" in host else host, "127.0.0.1", "localhost", "[::1]"]
    hosts = [f"{name}:*" for name in dict.fromkeys(names)]
    return TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
    )
