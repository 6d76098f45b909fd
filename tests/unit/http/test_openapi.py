"""The server does what its own OpenAPI document says, whatever it is sent."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from memkit import AsyncMemory
from memkit.server.http.api_keys import KeyFile, add_key
from memkit.server.http.http_app import create_app
from memkit.server.http.serving_limits import Limits


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    return path, add_key(path, "ann", {"user": "ann"})


@pytest.fixture(scope="module")
def app_schema(tmp_path_factory, opener, token):
    from starlette.testclient import TestClient

    memory = opener(tmp_path_factory.mktemp("fuzzed") / "agent.mem")
    memory.add("The archive is on the second floor.", scope={"user": "ann"})
    limits = Limits(max_tokens=8, seconds=60)
    app = create_app(AsyncMemory(memory), KeyFile(token[0]), limits)
    with TestClient(app):
        yield schemathesis.openapi.from_asgi("/openapi.json", app)


# What a schema cannot say may be refused: a blank text, a filter that makes no sense.
TOO_STRICT = [checks.positive_data_acceptance]
BOUNDED = settings(
    max_examples=6,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
def test_every_endpoint_does_as_documented(app_schema, token):
    headers = {"Authorization": f"Bearer {token[1]}"}
    tried, without_parameters = set(), set()
    for mode in GenerationMode:
        for operation in (result.ok() for result in app_schema.get_all_operations()):

            @BOUNDED
            @given(operation.as_strategy(generation_mode=mode))
            def does_as_documented(case):
                case.call_and_validate(headers=headers, excluded_checks=TOO_STRICT)

            try:
                does_as_documented()
            except Unsatisfiable:
                without_parameters.add(operation.label)
            else:
                tried.add((mode, operation.label))
    assert without_parameters == {"GET /health"}
    assert len(tried) == 2 * 23 - 1
