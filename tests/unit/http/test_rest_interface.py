"""`/memory`: the verbs as JSON, each in the scope of the key and in no other."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from memkit import AsyncMemory
from memkit.server.http.api_keys import add_key
from memkit.server.http.http_app import create_app

NORA = "What is the badge number of Nora?"


@pytest.fixture
def both(memory, serve, keys):
    """Clients of two tenants and of the shared scope, over one memory."""
    ann = serve(memory)

    class As:
        def __init__(self, name):
            self._headers = keys.of(name)

        def __getattr__(self, method):
            def call(*args, **options):
                return getattr(ann, method)(*args, headers=self._headers, **options)

            return call

        def delete(self, path, **options):
            return ann.request("DELETE", path, headers=self._headers, **options)

    return As("ann"), As("ben"), As("all")


def texts(client):
    return [record["text"] for record in client.get("/memory/records").json()["records"]]


def test_a_record_lives_from_post_to_delete(memory, serve):
    client = serve(memory)
    said = datetime(2025, 3, 1, 12, tzinfo=UTC)
    created = client.post(
        "/memory/records",
        json={
            "text": "The archive is on the second floor.",
            "question": "Where is the archive?",
            "answer": "on the second floor",
            "key": "archive",
            "metadata": {"source": "hr", "pages": [1, 2]},
            "ttl": 3600,
            "pinned": False,
            "at": said.isoformat(),
        },
    )
    assert created.status_code == 201
    record = created.json()
    stored = memory.get(record["id"], scope={"user": "ann"})
    assert (stored.text, stored.question, stored.answer) == (
        record["text"], record["question"], record["answer"],
    )  # fmt: skip
    assert (stored.scope, stored.metadata) == ({"user": "ann"}, {"source": "hr", "pages": [1, 2]})
    assert stored.said_at == said
    assert stored.expires_at - stored.created_at == timedelta(hours=1)

    place = f"/memory/records/{record['id']}"
    assert client.get(place).json() == record
    changed = client.patch(
        place, json={"text": "The archive is in the attic.", "answer": "in the attic"}
    ).json()
    assert (changed["version"], changed["question"]) == (2, "Where is the archive?")
    changed = client.patch(place, json={"question": None, "answer": None, "metadata": {}}).json()
    assert (changed["version"], changed["question"], changed["metadata"]) == (3, None, {})
    history = client.get(f"/memory/history/{record['id']}").json()
    assert [version["text"] for version in history] == [
        "The archive is on the second floor.",
        "The archive is in the attic.",
        "The archive is in the attic.",
    ]
    assert texts(client) == ["The archive is in the attic."]

    receipt = client.delete(place).json()
    assert receipt["records"] == [record["id"]]
    assert receipt["versions"] == 3
    assert set(receipt["checks"].values()) == {True}
    assert client.get(place).status_code == 404
    assert texts(client) == []


def test_several_records_are_stored_all_or_none(memory, serve):
    client = serve(memory)
    many = {"records": [{"text": f"Text {n}."} for n in range(5)]}
    assert [r["text"] for r in client.post("/memory/records/batch", json=many).json()] == [
        f"Text {n}." for n in range(5)
    ]
    bad = {"records": [{"text": "A new text."}, {"text": "x", "question": "Which?"}]}
    assert client.post("/memory/records/batch", json=bad).status_code == 400
    long = {"records": [{"text": f"Long {n}."} for n in range(257)]}
    assert client.post("/memory/records/batch", json=long).status_code == 400
    assert len(texts(client)) == 5


def test_records_come_in_pages(memory, serve):
    client = serve(memory)
    client.post(
        "/memory/records/batch", json={"records": [{"text": f"Text {n}."} for n in range(5)]}
    )
    seen, after = [], None
    while True:
        query = {"limit": 2} | ({"after": after} if after else {})
        page = client.get("/memory/records", params=query).json()
        seen += [record["text"] for record in page["records"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [f"Text {n}." for n in range(5)]


def test_a_tenant_reaches_nothing_of_another(both, memory):
    ann, ben, everybody = both
    shared = everybody.post("/memory/records", json={"text": "The archive is open."}).json()
    anns = ann.post("/memory/records", json={"text": "The archive of Ann is locked."}).json()
    bens = ben.post("/memory/records", json={"text": "The archive of Ben is painted."}).json()
    assert [r["scope"] for r in (shared, anns, bens)] == [{}, {"user": "ann"}, {"user": "ben"}]

    assert texts(ann) == [anns["text"]]
    assert texts(ben) == [bens["text"]]
    assert texts(everybody) == [shared["text"]]
    hits = ann.post("/memory/search", json={"query": "archive", "k": 10}).json()["hits"]
    assert {hit["record"]["id"] for hit in hits} == {shared["id"], anns["id"]}
    recalled = ann.post("/memory/recall", json={"question": "Where is the archive?"}).json()
    assert "locked" in recalled["text"]
    explained = ann.post("/memory/explain", json={"question": "Where is the archive?"})
    for response in (ann.get("/memory/stats"), explained):
        assert "painted" not in response.text
    assert "painted" not in recalled["text"]
    assert ann.get(f"/memory/records/{shared['id']}").json() == shared

    place = f"/memory/records/{bens['id']}"
    unknown = ann.get("/memory/records/unknown")
    for response in (
        ann.get(place),
        ann.get(f"/memory/history/{bens['id']}"),
        ann.patch(place, json={"text": "x"}),
        ann.delete(place),
    ):
        assert response.status_code == unknown.status_code == 404
        assert response.json()["error"]["code"] == "not_found"
    shared_place = f"/memory/records/{shared['id']}"
    assert ann.patch(shared_place, json={"text": "x"}).status_code == 403
    assert ann.delete(shared_place).status_code == 404
    assert memory.get(shared["id"]).version == 1

    assert ann.delete("/memory/records").json()["records"] == [anns["id"]]
    assert (texts(ben), texts(everybody)) == ([bens["text"]], [shared["text"]])
    assert everybody.delete("/memory/records").status_code == 400
    assert everybody.delete(shared_place).json()["records"] == [shared["id"]]


def test_conversations_are_apart(both):
    ann, ben, _ = both
    for client, boat in ((ann, "Selkie"), (ben, "Puffin")):
        said = [{"role": "user", "content": f"My boat is called {boat}."}]
        client.post(
            "/v1/chat/completions", json={"model": "memkit", "messages": said, "max_tokens": 2}
        )
    for client, boat in ((ann, "Selkie"), (ben, "Puffin")):
        turns = client.get("/memory/turns").json()["turns"]
        assert turns[0]["content"] == f"My boat is called {boat}."
        assert client.get("/memory/stats").json()["turns"] == len(turns)
    receipt = ann.delete("/memory/turns").json()
    assert receipt["turns"] > 0
    assert ann.get("/memory/turns").json()["turns"] == []
    assert len(ben.get("/memory/turns").json()["turns"]) > 0


def test_questions_are_answered_as_by_the_memory(trained, serve):
    client = serve(trained)
    reply = client.post("/memory/ask", json={"question": NORA, "budget": 0}).json()
    expected = trained.ask(NORA, 0, scope={"user": "ann"})

    assert (reply["text"], reply["citations"]) == ("4471", ["Nora"])
    assert reply["text"] == expected.text
    assert reply["modules"] == reply["route"]["weights"] == dict(expected.route.weights)
    assert trained.turns(scope={"user": "ann"}) == []
    in_messages = {"messages": [{"role": "user", "content": NORA}], "budget": 0}
    assert client.post("/memory/ask", json=in_messages).json()["text"] == "4471"


def test_what_is_shown_is_what_would_be_asked(trained, serve):
    shown = serve(trained).post("/memory/explain", json={"question": NORA}).json()
    expected = trained.explain(NORA, scope={"user": "ann"})

    assert shown["route"]["weights"] == dict(expected.recall.route.weights)
    assert shown["summary"] == str(expected)
    assert shown["citations"] == list(expected.recall.citations)


def test_queries_select_by_metadata_and_time(memory, serve):
    client = serve(memory)
    for year in (2020, 2024):
        client.post("/memory/records", json={
            "text": f"The archive moved in {year}.", "metadata": {"year": year},
            "at": f"{year}-06-01T00:00:00Z",
        })  # fmt: skip

    def found(**selection):
        body = {"query": "archive", **selection}
        hits = client.post("/memory/search", json=body).json()["hits"]
        return {hit["record"]["metadata"]["year"] for hit in hits}

    assert found() == {2020, 2024}
    assert found(where={"year": {"$gte": 2022}}) == {2024}
    assert found(until="2022-01-01T00:00:00+00:00") == {2020}
    assert found(since="2022-01-01T00:00:00+00:00") == {2024}
    assert found(as_of="2022-01-01T00:00:00+00:00") == set()
    asked = {"question": "When did the archive move?", "where": {"year": 2020}, "min_score": 0}
    answer = client.post("/memory/ask", json={**asked, "quote": True}).json()
    assert answer["text"] == "[1 June 2020] The archive moved in 2020."


def wait_for(client, job):
    while job["state"] in {"queued", "running"} and job["error"] is None:
        time.sleep(0.05)
        job = client.get(f"/memory/consolidate/{job['id']}").json()
    return job


@pytest.mark.slow
def test_records_are_consolidated_in_the_background(memory, serve, badges):
    memory.add(badges[:4])
    client = serve(memory, "all")
    started = client.post("/memory/consolidate")
    assert started.status_code == 202
    job = wait_for(client, started.json())

    assert (job["state"], job["held"], job["missed"], job["error"]) == ("done", 4, 0, None)
    assert (job["records"], job["modules"]) == (4, 1)
    assert client.get("/memory/stats").json()["held"] == 4
    answer = client.post("/memory/ask", json={"question": NORA, "budget": 0}).json()
    assert (answer["text"], answer["modules"]) == ("4471", {"m0001": 1.0})


def test_a_failed_consolidation_says_so_and_is_tried_again(memory, serve, badges, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the zebra")

    memory.add(badges[:4])
    monkeypatch.setattr("memkit.memory.learning.learn", fail)
    client = serve(memory, "all")
    job = wait_for(client, client.post("/memory/consolidate").json())

    assert (job["state"], job["attempts"], job["error"]) == ("queued", 1, "RuntimeError")
    assert client.delete(f"/memory/consolidate/{job['id']}").json()["state"] == "cancelled"


def test_a_consolidation_is_told_about_to_its_owner_alone(memory, serve, keys, badges, monkeypatch):
    memory.add("The locker of Cleo is 17.", scope={"user": "cleo"})
    client = serve(memory)
    for name in ("cleo", "dora"):
        keys.tokens[name] = add_key(keys.path, name, {"user": name}, ["consolidate"])
    monkeypatch.setattr(memory.jobs._thread, "start", lambda: None)  # nobody trains
    job = client.post("/memory/consolidate", headers=keys.of("cleo")).json()

    path = f"/memory/consolidate/{job['id']}"
    assert client.get(path, headers=keys.of("cleo")).json() == job
    unsigned = f"/memory/consolidate/{memory.jobs.list()[0].id}"
    for name, tried in (("dora", path), ("dora", unsigned), ("cleo", unsigned), ("cleo", "/x-é")):
        for verb in (client.get, client.delete):
            response = verb(tried, headers=keys.of(name))
            assert response.status_code == 404
    assert memory.jobs.list()[0].state == "queued"


@pytest.mark.slow
def test_a_consolidation_goes_on_when_the_server_is_started_again(tmp_path, opener, badges, keys):
    def serving():
        app = create_app(AsyncMemory(opener(tmp_path / "agent.mem")), keys.file)
        return TestClient(app, headers=keys.of("all"))

    with opener(tmp_path / "agent.mem") as memory:
        memory.add(badges[:4])
    with serving() as client:
        started = client.post("/memory/consolidate").json()
        while client.get(f"/memory/consolidate/{started['id']}").json()["state"] == "queued":
            time.sleep(0.01)
    with serving() as client:
        job = wait_for(client, started)
    assert (job["state"], job["held"]) == ("done", 4)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("records", {"text": ""}, "text: it must not be empty"),
        ("records", {"text": 5}, "text: expected a text"),
        ("search", {}, "query: it is missing"),
        ("records", {"text": " "}, "must not be empty"),
        ("records", {"text": "x", "scope": {"user": "ben"}}, "unknown parameter: scope"),
        ("records", {"text": "x", "id": "mine"}, "unknown parameter: id"),
        ("records", {"text": "x", "at": "2025-01-01T00:00:00"}, "at"),
        ("records", {"text": "x", "metadata": {"a": {"b": "\0"}}}, "NUL"),
        ("search", {"query": "x", "scope": {}}, "unknown parameter: scope"),
        ("search", {"query": "x", "where": {"a": {"$xor": 1}}}, "$xor"),
        ("search", {"query": "x", "k": 101}, "k: expected 100 or less"),
        ("recall", {}, "either `question` or `messages`"),
        ("recall", {"question": "x", "messages": [{"role": "user", "content": "x"}]}, "either"),
        ("recall", {"messages": [{"role": "assistant", "content": "x"}]}, "must end with"),
        ("ask", {"question": "x", "max_tokens": 5000}, "at most 1024"),
        ("ask", {"question": "x", "modules": ["m0001"]}, "unknown parameter: modules"),
        ("ask", {"question": "x", "temperature": 1e-9}, "temperature"),
    ],
)
def test_what_is_malformed_is_refused_and_changes_nothing(memory, serve, path, body, message):
    before = memory.stats()
    response = serve(memory).post(f"/memory/{path}", json=body)

    assert response.status_code == 400
    assert message in response.json()["error"]["message"]
    assert memory.stats() == before


def test_what_is_wrong_with_a_query_or_a_path_is_told_in_plain_words(memory, serve):
    client = serve(memory)
    words = client.get("/memory/records?limit=x")
    none = client.get("/memory/nothing")
    other = client.get("/memory/search")

    assert words.json()["error"]["message"] == "limit: expected a whole number"
    assert words.json()["error"]["param"] == "limit"
    assert (none.status_code, other.status_code) == (404, 405)
    assert "there is no such path" in none.json()["error"]["message"]
    assert "GET is not for this path" in other.json()["error"]["message"]
    assert other.headers["allow"] == "POST"


def test_an_update_needs_a_change(memory, serve):
    client = serve(memory)
    record = client.post("/memory/records", json={"text": "A text."}).json()
    response = client.patch(f"/memory/records/{record['id']}", json={})
    assert response.status_code == 400
    assert "at least one" in response.json()["error"]["message"]
