"""`search` and `recall`: what is found, for whom, within which budget, and without a model."""

import subprocess
import sys

import pytest

from memkit.errors import InvalidInputError, ModelUnavailableError
from memkit.models.language_model import TransformersModel
from memkit.testing import HashingEmbedder
from memkit.types import Draft

TEXTS = {
    "badge": "The night porter's badge number is 4471.",
    "dock": "Deliveries are unloaded at dock three.",
    "salary": "Ms Okafor is in charge of salaries.",
    "archive": "The archive is on the third floor.",
}


def words(text):
    return len(text.split())


@pytest.fixture
def memory(tmp_path, open_memory):
    memory = open_memory(tmp_path / "m", count_tokens=words)
    for year, (id, text) in enumerate(TEXTS.items(), start=2020):
        memory.add(text, id=id, metadata={"year": year, "source": "hr" if year % 2 else "ops"})
    return memory


def ids(hits):
    return [hit.id for hit in hits]


# -- search


def test_the_best_hit_comes_first(memory):
    hits = memory.search("which badge has the night porter", k=2)
    assert ids(hits)[0] == "badge"
    assert len(hits) == 2
    assert hits[0].text == TEXTS["badge"]
    assert hits[0].record == memory.get("badge")
    assert hits[0].score >= hits[1].score


def test_as_many_hits_come_as_there_are(memory):
    assert sorted(ids(memory.search("anything at all", k=1000))) == sorted(TEXTS)
    assert len(memory.search("anything at all", k=10**12)) == 4
    assert len(memory.search("anything at all")) == 4


def test_filters_act_inside_the_search(memory):
    for where, expected in [
        ({"source": "hr"}, {"dock", "archive"}),
        ({"year": {"$gte": 2022}}, {"salary", "archive"}),
        ({"year": {"$in": [2020, 2023]}}, {"badge", "archive"}),
        ({"$or": [{"source": "hr"}, {"year": {"$lt": 2021}}]}, {"badge", "dock", "archive"}),
        ({"$not": {"source": "hr"}, "year": {"$ne": 2020}}, {"salary"}),
        ({"month": {"$exists": True}}, set()),
        ({}, set(TEXTS)),
    ]:
        assert set(ids(memory.search("badge", k=4, where=where))) == expected
        assert set(ids(memory.recall("badge", where=where).hits)) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": ""}, "`query` must not be empty or blank"),
        ({"query": " \n"}, "`query` must not be empty or blank"),
        ({"query": 7}, "`query` must be a string"),
        ({"query": "a\0"}, "`query` must not contain NUL"),
        ({"query": "a", "k": 0}, "`k` must be an integer of at least 1, got 0"),
        ({"query": "a", "k": -1}, "`k` must be an integer of at least 1, got -1"),
        ({"query": "a", "k": 2.5}, "`k` must be an integer of at least 1, got 2.5"),
        ({"query": "a", "k": True}, "`k` must be an integer of at least 1, got True"),
        ({"query": "a", "where": {"year": {"$near": 3}}}, "'\\$near'"),
        ({"query": "a", "where": {"$xor": []}}, "'\\$xor'"),
        ({"query": "a", "where": [("a", 1)]}, "`where` must be a mapping"),
        ({"query": "a", "scope": {1: "u"}}, "keys and values of `scope` must be non-empty strings"),
        ({"query": "a", "scope": None}, "`scope` must be a mapping, got None"),
    ],
)
@pytest.mark.parametrize("backends", [("rag",), ("buffer",), ("lora",)])
def test_bad_queries_are_refused(tmp_path, open_memory, backends, arguments, message):
    memory = open_memory(tmp_path / "m", backends=backends, count_tokens=words)
    memory.add("something")
    if backends == ("rag",):
        with pytest.raises(InvalidInputError, match=message):
            memory.search(**arguments)
    question = {"question" if name == "query" else name: arguments[name] for name in arguments}
    with pytest.raises(InvalidInputError, match=message.replace("`query`", "`question`")):
        memory.recall(**question)


# -- recall


def test_the_budget_is_kept_and_what_is_left_out_is_counted(memory):
    dock = memory.add_turn("user", "Where is dock three?", scope={"user": "u1"})
    memory.add_turn("assistant", "Behind the mill.", scope={"user": "u1"}, remember=False)
    for budget in range(60):
        recall = memory.recall("night porter badge", budget, scope={"user": "u1"})
        assert recall.tokens == words(recall.text) <= budget
        assert recall.budget == budget
        # Five records are visible, and two turns; what is shown as one counts as the other, too.
        shown = [turn.record_id for turn in recall.turns] + [hit.id for hit in recall.hits]
        once = shown.count(dock.record_id)
        assert once <= 1
        assert len(recall.hits) + len(recall.turns) + recall.omitted == 7 - once
    assert recall.omitted == 0
    assert recall.hits[0].id == "badge"
    assert [turn.content for turn in recall.turns] == ["Where is dock three?", "Behind the mill."]
    assert recall.counter == "count_tokens"
    assert set(TEXTS) < set(recall.citations)


def test_no_budget_gives_no_text(memory):
    recall = memory.recall("night porter badge", 0)
    assert (recall.text, recall.tokens, recall.hits, recall.turns) == ("", 0, (), ())
    assert recall.omitted == 4


@pytest.mark.parametrize("budget", [-1, 1.5, "512", None, True])
def test_bad_budgets_are_refused(memory, budget):
    with pytest.raises(InvalidInputError, match="`budget` must be an integer of at least 0, got"):
        memory.recall("badge", budget)


def test_k_bounds_the_passages(memory):
    assert len(memory.recall("badge", 1000, k=2).hits) == 2


# -- without a base model


@pytest.fixture
def no_model(monkeypatch):
    """No source has a base model, and none is to be loaded."""

    def nowhere(spec=None):
        raise ModelUnavailableError("expected the model in one of these places", hint="install it")

    def refuse(*_, **__):
        raise AssertionError("a base model was loaded")

    monkeypatch.setattr("memkit.models.token_counter.find_base", nowhere)
    monkeypatch.setattr(TransformersModel, "load", refuse)


def test_recall_needs_no_base_model(tmp_path, open_memory, no_model, caplog):
    memory = open_memory(tmp_path / "m", base_model=None)
    memory.add(TEXTS["badge"], id="badge")
    recall = memory.recall("night porter badge", 40)
    assert recall.hits[0].id == "badge"
    assert recall.counter == "an estimate of 3 bytes a token"
    assert recall.tokens == -(-len(recall.text.encode()) // 3) <= 40
    memory.recall("again")
    warnings = [r.message for r in caplog.records if "counting tokens by length" in r.message]
    assert len(warnings) == 1


def test_a_base_model_that_was_asked_for_is_not_replaced_by_an_estimate(
    tmp_path, open_memory, no_model
):
    memory = open_memory(tmp_path / "m", base_model="some/model")
    memory.add(TEXTS["badge"])
    assert memory.search("badge")
    with pytest.raises(ModelUnavailableError, match="expected the model") as caught:
        memory.recall("badge")
    assert caught.value.hint == "install it"


def test_asking_without_a_base_model_says_how_to_get_one(tmp_path, open_memory, monkeypatch):
    def nowhere(spec=None):
        raise ModelUnavailableError("expected the model in one of these places", hint="install it")

    monkeypatch.setattr("memkit.models.load_model.find_base", nowhere)
    memory = open_memory(tmp_path / "m", base_model=None, count_tokens=words)
    memory.add(TEXTS["badge"])
    with pytest.raises(ModelUnavailableError, match="expected the model"):
        memory.ask("Which badge?")
    with pytest.raises(ModelUnavailableError, match="expected the model"):
        memory.consolidate()
    assert memory.search("badge")


def test_a_loaded_model_counts_with_its_tokenizer(tmp_path, open_memory, tiny):
    memory = open_memory(tmp_path / "m")
    memory.add(TEXTS["badge"])
    recall = memory.recall("badge")
    assert recall.counter == tiny.name
    assert recall.tokens == len(tiny.tokenizer(recall.text, add_special_tokens=False)["input_ids"])


WITHOUT_TORCH = """
import sys
sys.path[:0] = sys.argv[2:]
from memkit import Memory
from memkit.testing import HashingEmbedder
with Memory.open(sys.argv[1], backends=("buffer", "rag"), embedder=HashingEmbedder(),
                 count_tokens=len) as memory:
    memory.add("The badge number is 4471.")
    memory.add_turn("user", "Hello.")
    print(memory.recall("badge", 200).hits[0].text, "torch" in sys.modules)
"""


@pytest.mark.slow
def test_retrieval_alone_does_not_even_import_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "m"), *sys.path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "The badge number is 4471. False"


def test_the_query_is_embedded_once_for_search_and_router(tmp_path, open_memory):
    class Counting(HashingEmbedder):
        asked = 0

        def encode_query(self, texts, /):
            Counting.asked += len(texts)
            return super().encode_query(texts)

    memory = open_memory(tmp_path / "m", embedder=Counting(), count_tokens=words)
    memory.add(TEXTS["badge"])
    memory.recall("night porter")
    assert Counting.asked == 1


def test_a_warm_search_reads_the_ledger_six_times(open_memory, tmp_path):
    memory = open_memory(tmp_path / "agent.mem", backends=["rag"])
    memory.add([f"Parcel {number} is at gate {7 * number}." for number in range(50)])
    memory.search("Where is parcel 7?")
    statements = []
    connection = memory._engine.ledger._database._connection
    # The word index reads its own tables, which SQLite reports as comments.
    connection.set_trace_callback(lambda sql: sql.startswith("--") or statements.append(sql))
    memory.search("Where is parcel 9?")
    connection.set_trace_callback(None)
    assert len(statements) <= 6, statements


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Where did The Who play?", "who"),
        ("In which town did Will play?", "will"),
        ("Which town did IT play in?", "it"),
        ("Where did the band play?", "band"),
    ],
)
def test_names_that_are_made_of_common_words_are_found(tmp_path, open_memory, question, found):
    facts = {
        "band": "The band of the harbour did play in the town of Whitby.",
        "who": "The Who came to Leeds for one evening.",
        "will": "Will came to Hull for one evening.",
        "it": "IT came to York for one evening.",
        **{f"n{n}": f"The team {n} did play in the town of rain." for n in range(30)},
    }
    with open_memory(tmp_path / "m", backends=("rag",), count_tokens=len) as memory:
        memory.add([Draft(text, id=id) for id, text in facts.items()])
        parts = {hit.id: hit.parts.get("words", 0.0) for hit in memory.search(question, 40)}
    assert max(parts, key=parts.get) == found
