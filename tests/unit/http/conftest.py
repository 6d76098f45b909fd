"""Memories behind the server, and clients that call it in this process."""

from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.testclient import TestClient

from memkit import AsyncMemory
from memkit.server.http.api_keys import RIGHTS, KeyFile, add_key
from memkit.server.http.http_app import create_app

PEOPLE = {
    "ann": ({"user": "ann"}, ["read", "write"]),
    "ben": ({"user": "ben"}, ["read", "write"]),
    "eye": ({"user": "eye"}, ["read"]),
    "all": ({}, RIGHTS),
}


class Keys:
    """A key file with the keys that are in it."""

    def __init__(self, path):
        self.path = path
        self.tokens = {name: add_key(path, name, *rest) for name, rest in PEOPLE.items()}

    @property
    def file(self):
        return KeyFile(self.path)

    def of(self, name):
        return {"authorization": f"Bearer {self.tokens[name]}"}


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys.toml")


@pytest.fixture
def serve(keys):
    """Serves a memory, and gives a client whose ``headers`` tests set by ``keys.of(name)``."""
    clients = []

    def open_client(memory, name="ann", **options):
        app = create_app(AsyncMemory(memory), keys.file, **options)
        client = TestClient(app, headers=keys.of(name))
        clients.append(client)
        return client.__enter__()

    yield open_client
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def serve_async(keys):
    """The same for tests that send several requests at once."""

    @asynccontextmanager
    async def open_client(memory, **options):
        app = create_app(AsyncMemory(memory), keys.file, **options)
        transport = httpx.ASGITransport(app)
        async with (
            app.app.router.lifespan_context(app.app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            yield client

    return open_client


@pytest.fixture
def asgi_scope():
    """Makes what a server tells an application of a POST request."""

    def scope_of(path, headers):
        sent = {"content-type": "application/json"} | headers
        return {
            "type": "http",
            "asgi": {"spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "server": ("test", 80),
        }

    return scope_of
