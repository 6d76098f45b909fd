"""The server of the Model Context Protocol, driven in memory by the SDK's own client."""

import asyncio
import threading
from contextlib import asynccontextmanager

import jsonschema
import pytest
from mcp import Client

from memkit import AsyncMemory, InvalidInputError
from memkit.server.mcp.http_access import Access, check_reach, header_checks, is_loopback
from memkit.server.mcp.mcp_server import KINDS, memory_server
from memkit.testing import HashingEmbedder, HashingModel

NORA = "What is the badge number of Nora?"
READ = {"search", "recall", "ask", "stats", "explain"}
TOOLS = READ | {"remember", "update", "forget", "consolidate"}

U1, U2 = {"user": "u1"}, {"user": "u2"}


@pytest.fixture
def light(open_memory, tmp_path):
    """A memory whose models are made of hashes."""
    return open_memory(
        tmp_path / "agent.mem",
        base_model=HashingModel(),
        embedder=HashingEmbedder(),
        backends=["buffer", "rag"],
    )


@asynccontextmanager
async def connected(memory, scope=None, mode="auto"):
    async with Client(memory_server(AsyncMemory(memory), scope or {}), mode=mode) as client:
        yield client


class EachTime:
    """Connects for each request: what a connection opens, the task that opened it has to close."""

    def __init__(self, memory, scope):
        self.memory, self.scope = memory, scope

    async def call_tool(self, *call):
        async with connected(self.memory, self.scope) as client:
            return await client.call_tool(*call)

    async def list_tools(self):
        async with connected(self.memory, self.scope) as client:
            return await client.list_tools()


@pytest.fixture
def client(light):
    return EachTime(light, U1)


async def said(client, tool, **arguments):
    """What a tool returns, which has to be as its output schema says."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
    jsonschema.validate(result.structured_content, schemas[tool])
    return result.structured_content


async def refused(client, tool, **arguments):
    """The text of the error that a tool returns."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    (content,) = result.content
    return content.text


# -- what clients are told


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_clients_of_every_era_see_the_tools(light, mode):
    async with connected(light, mode=mode) as client:
        tools = (await client.list_tools()).tools
        assert (await said(client, "stats"))["records"] == 0

    assert {tool.name for tool in tools} == TOOLS == set(KINDS)


async def test_the_newest_protocol_is_spoken_and_the_server_says_who_it_is(light):
    async with connected(light) as client:
        assert client.protocol_version == "2026-07-28"
        assert client.server_info.name == "memkit"
        assert "Call `recall` before you answer" in client.instructions


async def test_every_tool_has_a_title_a_description_and_schemas(client):
    for tool in (await client.list_tools()).tools:
        assert tool.title == tool.annotations.title
        assert tool.title[0].isupper()
        assert tool.description.endswith(".")
        assert "\n   " not in tool.description
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema["type"] == "object"
        for field in tool.input_schema["properties"].values():
            assert field["description"]


HINTS = {  # read-only, destructive
    "remember": (False, False),
    "search": (True, False),
    "recall": (True, False),
    "ask": (True, False),
    "update": (False, True),
    "forget": (False, True),
    "consolidate": (False, False),
    "stats": (True, False),
    "explain": (True, False),
}


@pytest.mark.parametrize("name", sorted(TOOLS))
async def test_the_hints_say_what_a_tool_may_do(client, name):
    hints = next(t.annotations for t in (await client.list_tools()).tools if t.name == name)

    assert (hints.read_only_hint, hints.destructive_hint) == HINTS[name]
    assert hints.idempotent_hint is True
    assert hints.open_world_hint is False


async def test_no_tool_takes_a_scope(client):
    for tool in (await client.list_tools()).tools:
        assert "scope" not in tool.input_schema["properties"]


# -- the verbs


@pytest.mark.slow
async def test_what_is_remembered_is_found_updated_and_forgotten(client, light):
    fact = await said(
        client,
        "remember",
        text="The archive is on the second floor.",
        question="Where is the archive?",
        answer="second floor",
        metadata={"source": "hr"},
    )
    assert light.get(fact["id"], scope=U1).scope == U1
    assert (fact["version"], fact["shared"]) == (1, False)

    (hit,) = (await said(client, "search", query="archive floor", where={"source": "hr"}))["hits"]
    assert (hit["id"], hit["passage"]) == (fact["id"], "The archive is on the second floor.")
    recalled = await said(client, "recall", question="Where is the archive?", budget=64)
    assert recalled["citations"] == [fact["id"]]
    assert "- The archive is on the second floor." in recalled["text"]
    assert recalled["tokens"] <= recalled["budget"] == 64

    newer = await said(
        client, "update", id=fact["id"], text="The archive is on the third floor.",
        answer="third floor",
    )  # fmt: skip
    assert (newer["version"], newer["answer"]) == (2, "third floor")
    assert newer["question"] == "Where is the archive?"
    assert (await said(client, "stats"))["versions"] == 2

    receipt = await said(client, "forget", ids=[fact["id"]])
    assert receipt["forgotten"] == [fact["id"]]
    assert receipt["checks"]
    assert all(receipt["checks"].values())
    assert (await said(client, "search", query="archive"))["hits"] == []


@pytest.mark.slow
async def test_the_same_call_twice_changes_nothing_further(client):
    once = await said(client, "remember", text="The gate opens at six.")
    assert await said(client, "remember", text="The gate opens at six.") == once
    changed = await said(client, "update", id=once["id"], text="The gate opens at seven.")
    again = await said(client, "update", id=once["id"], text="The gate opens at seven.")

    assert again == changed


@pytest.mark.slow
async def test_a_key_replaces_what_was_there(client):
    first = await said(client, "remember", text="Ann lives in Ulm.", key="home:ann")
    second = await said(client, "remember", text="Ann lives in Bern.", key="home:ann")

    assert (second["id"], second["version"]) == (first["id"], 2)


async def test_time_bounds_are_read(client):
    await said(client, "remember", text="The gate opens at six.")

    since = await said(client, "search", query="gate", since="2999-01-01T00:00:00Z")
    until = await said(client, "search", query="gate", until="2999-01-01T00:00:00+01:00")
    assert (len(since["hits"]), len(until["hits"])) == (0, 1)


@pytest.mark.parametrize("answer", ["null", "[4471]", '{"a": 1}', "true"])
async def test_a_text_that_looks_like_json_stays_a_text(client, answer):
    fact = await said(
        client, "remember", text=f"It prints {answer}.", question="What?", answer=answer
    )

    assert fact["answer"] == answer


async def test_objects_that_come_as_json_texts_are_read(client):
    fact = await said(client, "remember", text="The gate opens at six.", metadata='{"by": "hr"}')

    assert fact["metadata"] == {"by": "hr"}


async def test_the_memory_answers_from_its_weights(trained):
    async with connected(trained) as client:
        answer = await said(client, "ask", question=NORA, budget=0)
        assert (answer["text"], answer["citations"]) == ("4471", ["Nora"])
        assert answer["modules"] == ["m0001"]

        shown = await said(client, "explain", question=NORA)
        assert shown["route"]["weights"] == {"m0001": 1.0}
        assert shown["route"]["facts"][0]["id"] == "Nora"
        assert "route: m0001 x 1.00" in shown["text"]


async def test_a_strict_answer_without_support_is_withheld(trained):
    async with connected(trained) as client:
        answer = await said(client, "ask", question="Who sang last night in Rome?", strict=True)

    assert answer["text"] == ""
    assert answer["withheld"]


@pytest.mark.slow
async def test_learning_by_heart_reports_its_progress(memory, badges):
    memory.add(badges[:4])
    heard = []

    async def hear(progress, total, message):
        heard.append((progress, total, message))

    async with connected(memory) as client:
        result = await client.call_tool("consolidate", {}, progress_callback=hear)
        again = await said(client, "consolidate")

    assert result.structured_content["held"] == 4
    assert [module["held"] for module in result.structured_content["modules"]] == [4]
    assert again["modules"] == []
    assert heard
    assert [progress for progress, _, _ in heard] == sorted({progress for progress, _, _ in heard})
    assert {total for _, total, _ in heard} == {150}  # the recipe's epochs, for one module
    assert heard[-1][0] <= 150
    assert "module 1 of 1" in heard[0][2]


# -- tenants


async def test_a_client_cannot_reach_another_tenant(light):
    own = light.add("Ann has badge 8812.", scope=U1).id
    other = light.add("Bob has badge 7001.", scope=U2).id
    light.add_turn("user", "Bob whispers 7001.", scope=U2)
    async with connected(light, U1) as client:
        hits = (await said(client, "search", query="badge Bob 7001", k=100))["hits"]
        assert [hit["id"] for hit in hits] == [own]
        for tool in ("recall", "ask", "explain"):
            assert "7001" not in str(await said(client, tool, question="Which badge has Bob?"))
        unknown = await refused(client, "update", id="no-such-id", text="x")
        assert await refused(client, "update", id=other, text="x") == unknown.replace(
            "no-such-id", other
        )
        assert f"no record has the id '{other}'" in await refused(client, "forget", ids=[other])
        assert await refused(client, "forget", ids=[own, other])
        assert (await said(client, "stats"))["records"] == 1

    assert light.get(own, scope=U1).text == "Ann has badge 8812."
    assert light.get(other, scope=U2).version == 1


async def test_narrower_scopes_of_the_tenant_are_its_own(light):
    session = light.add("Ann hums.", scope={"user": "u1", "session": "s"}).id
    async with connected(light, U1) as client:
        assert (await said(client, "forget", ids=[session]))["forgotten"] == [session]


async def test_shared_records_are_read_but_not_changed_by_a_tenant(light):
    shared = light.add("The gate opens at six.").id
    async with connected(light, U1) as client:
        (hit,) = (await said(client, "search", query="gate"))["hits"]
        assert hit["shared"] is True
        error = await refused(client, "update", id=shared, text="The gate is open.")
        assert "is shared by all, and this server may change only its own" in error
        assert await refused(client, "forget", ids=[shared])
    async with connected(light) as client:
        assert (await said(client, "update", id=shared, text="The gate opens at 7."))[
            "version"
        ] == 2

    assert light.get(shared).text == "The gate opens at 7."


async def test_without_a_scope_only_shared_records_are_seen(light):
    light.add("Ann has badge 8812.", scope=U1)
    async with connected(light) as client:
        assert (await said(client, "search", query="badge"))["hits"] == []
        await said(client, "remember", text="The gate opens at six.")

    assert light.count() == 1


async def test_a_tenant_learns_its_own_records_alone(memory, badges):
    memory.add([{"text": badge.text, "scope": U2} for badge in badges])
    async with connected(memory, U1) as client:
        assert (await said(client, "consolidate"))["modules"] == []


# -- errors


async def test_errors_of_the_memory_reach_the_model_with_their_hints(client):
    error = await refused(client, "remember", text="Six.", question="When?")

    assert error.startswith("Error executing tool remember: ")
    assert "`answer`" in error
    assert "\nHint: " in error


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("remember", {}, "remember: text: it is missing"),
        ("remember", {"text": "  "}, "`text` must"),
        ("remember", {"text": "x", "metadata": {"a": {1: 2}}, "scope": {"user": "u2"}}, "scope"),
        ("remember", {"text": "x", "metadata": "no"}, "metadata: expected an object"),
        ("search", {"query": "x", "k": 0}, "search: k: expected 1 or more"),
        ("search", {"query": "x", "where": {"a": {"$no": 1}}}, r"$no"),
        (
            "search",
            {"query": "x", "since": "2026-01-01T00:00:00"},
            "since: expected a time with its zone",
        ),
        ("recall", {"question": "x", "budget": -1}, "budget"),
        ("ask", {"question": ""}, "`question` must"),
        ("ask", {"question": "x", "scope": {"user": "u2"}}, "scope"),
        ("update", {"id": "x"}, "expected something to change"),
        ("forget", {"ids": []}, "ids"),
        ("forget", {"ids": ["nobody"]}, "no record has the id 'nobody'"),
        ("explain", {}, "question"),
        ("stats", {"scope": {"user": "u2"}}, "scope: there is no such parameter"),
    ],
)
async def test_bad_arguments_are_refused_and_change_nothing(client, light, tool, arguments, said):
    error = await refused(client, tool, **arguments)
    assert said in error
    assert "pydantic" not in error
    assert light.count(scope="all") == 0


async def test_an_unknown_tool_is_an_error(client):
    assert "Unknown tool: forget_all" in await refused(client, "forget_all")


async def test_what_is_not_foreseen_stays_on_the_server(client, light, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("the secret path")

    monkeypatch.setattr(light._engine.ledger.records, "count", fails)

    assert await refused(client, "stats") == "Error executing tool stats"


# -- the event loop


async def test_a_slow_call_does_not_hold_up_others(open_memory, tmp_path):
    entered, opened = threading.Event(), threading.Event()

    class Gated(HashingEmbedder):
        def encode_document(self, texts, /):
            entered.set()
            assert opened.wait(30)
            return super().encode_document(texts)

    memory = open_memory(tmp_path / "m", embedder=Gated(), backends=["rag"])
    async with connected(memory) as client:
        adding = asyncio.create_task(said(client, "remember", text="The gate opens at six."))
        while not entered.is_set():
            await asyncio.sleep(0)
        assert (await said(client, "stats"))["records"] == 0
        opened.set()
        assert (await adding)["version"] == 1


async def test_many_calls_at_once_are_all_served(client, light):
    texts = [f"Locker {number} belongs to crew {number % 7}." for number in range(30)]
    async with connected(light, U1) as other:
        calls = [other.call_tool("remember", {"text": text}) for text in texts]
        facts = [result.structured_content for result in await asyncio.gather(*calls)]

    assert {fact["text"] for fact in facts} == set(texts)
    assert (await said(client, "stats"))["records"] == len(texts)


@pytest.mark.slow
async def test_a_client_that_gives_up_on_training_can_go_on(memory, badges):
    memory.add(badges[:2])
    begun = asyncio.Event()

    async def hear(*_):
        begun.set()

    async with AsyncMemory(memory) as shared:  # waits for the training at the end
        async with Client(memory_server(shared, {})) as client:
            training = asyncio.create_task(
                client.call_tool("consolidate", {}, progress_callback=hear)
            )
            await begun.wait()
            training.cancel()
            with pytest.raises(asyncio.CancelledError):
                await training
            found = await client.call_tool("search", {"query": "badge Nora"})
            assert found.structured_content["hits"][0]["id"] == "Nora"
        report = await shared.consolidate()

    assert report.held == ()  # the thread has finished the work


# -- who may reach it over HTTP


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_token(host):
    check_reach(host, None)
    assert is_loopback(host)
    assert header_checks(host).enable_dns_rebinding_protection


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_others_need_a_token(host):
    with pytest.raises(InvalidInputError, match=r"(?s)expected a loopback `host`.*--token-file"):
        check_reach(host, None)
    check_reach(host, Access("0123456789abcdef"))


@pytest.mark.parametrize("token", ["", "short", "0123456789abcde", "ünïcödé ünïcödé", "a\n" * 20])
def test_a_token_that_can_be_guessed_is_refused(token):
    with pytest.raises(InvalidInputError, match="expected a token of at least 16 printable"):
        Access(token)


async def test_a_token_lets_in_whoever_sends_it(tmp_path):
    (tmp_path / "token").write_text("0123456789abcdef\n")
    access = Access.of_file(tmp_path / "token")

    assert (await access.verify_token("0123456789abcdef")).client_id == "memkit"
    assert await access.verify_token("0123456789abcdeX") is None
    assert await access.verify_token("ü") is None
    assert "0123" not in repr(access)
