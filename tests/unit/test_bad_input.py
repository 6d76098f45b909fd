"""Values of the wrong kind are refused where they come in, with what was expected and a remedy."""

import asyncio
import dataclasses
from datetime import UTC, datetime

import pytest

from memkit import AsyncMemory, InvalidInputError, Memory, StorageError
from memkit.answering.prompt import PromptFormat
from memkit.errors import NotAMemoryError
from memkit.ledger.items import NewItem
from memkit.lora.recipe import Recipe
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.memory.check import check
from memkit.protocols import Backend
from memkit.testing import HashingEmbedder, HashingModel
from memkit.testing.fakes import new_record
from memkit.types import Draft, Hit, Module, Turn, Version

NOON = datetime(2025, 3, 4, 12, tzinfo=UTC)
RECORD = new_record("a", "The archive is on the second floor.")
HIT = Hit(RECORD, RECORD.text, 0, len(RECORD.text), 1.0, None)
TURN = Turn("t", "user", "Where is the archive?", {}, NOON, "a")
MODULE = Module("m0001", 1, {}, ("a",), {}, NOON)
MESSAGE = {"role": "user", "content": "Where is the archive?"}


class Tags(Backend):
    """Recalls whatever it was made with."""

    name = "tags"

    def __init__(self, evidence=None):
        self.evidence = evidence

    def write(self, records):
        pass

    def recall(self, query):
        return self.evidence

    def delete(self, ids):
        pass


class Duck:
    name = "duck"


@pytest.fixture(scope="module")
def shared(tmp_path_factory, opener):
    """A memory with one record, that no test changes."""
    with opener(tmp_path_factory.mktemp("bad") / "agent.mem") as memory:
        memory.add(RECORD.text, id="a")
        yield memory


NO_ID = r"`id` must be a string, got "
NO_IDS = r"`id` must be a string or a list of strings, got "


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m.get(RECORD), NO_ID + r"Record: Record\(id='a'.*…\nHint: Give its `.id`."),
        (lambda m: m.get(HIT), NO_ID + r"Hit: .*\nHint: Give its `.id`."),
        (lambda m: m.get(TURN), NO_ID + r"Turn: .*\nHint: Give its `.record_id`."),
        (lambda m: m.get(5), NO_ID + "int: 5$"),
        (lambda m: m.get(None), NO_ID + "None$"),
        (lambda m: m.update(RECORD, "new"), NO_ID + "Record"),
        (lambda m: m.history(RECORD), NO_ID + "Record"),
        (lambda m: m.forget(RECORD), NO_IDS + r"Record.*\nHint: Give its `.id`."),
        (lambda m: m.forget(4), NO_IDS + "int: 4$"),
        (lambda m: m.forget(["a", RECORD]), NO_IDS + "a list with Record"),
        (lambda m: m.retention.pin(["a"]), NO_ID + r"list: \['a'\]"),
        (lambda m: m.retention.expire(RECORD, 5), NO_ID + "Record"),
        (lambda m: m.merge(RECORD), "`ids` must be a list of strings, got Record"),
        (lambda m: m.get_many("a"), "`ids` must be a list of strings, got the string 'a'"),
        (lambda m: m.get_many(iter("a")), "`ids` must be a list of strings, got str_"),
        (lambda m: m.vectors.get([RECORD]), NO_ID + "Record"),
        (
            lambda m: m.modules.rollback(MODULE, 1),
            r"`name` must be a string, got Module: .*\nHint: Give its `.name`.",
        ),
        (
            lambda m: m.modules.rollback("m0001", "1"),
            "`version` must be an integer of at least 1, got '1'",
        ),
        (lambda m: m.modules.retrain(3), "`names` must be a string or a list of strings, got int"),
        (lambda m: m.modules.export(MODULE, "x"), "`mixture` must be a string, got Module"),
        (lambda m: m.modules.export({3: 1.0}, "x"), "`mixture` must be a string, got int: 3"),
        (
            lambda m: m.modules.import_("x", records=[RECORD]),
            "`records` must be a list of strings, got a list with Record",
        ),
        (lambda m: m.modules.peft_model(3), "`name` must be a string, got int: 3"),
        (lambda m: m.ask("Who?", modules=MODULE), "`modules` must be a list of strings, got Mod"),
        (lambda m: m.export(5), "`path` must be a string or a path, got int: 5"),
        (lambda m: m.import_(None), "`path` must be a string or a path, got None"),
        (lambda m: m.modules.export("m0001", 5), "`path` must be a string or a path, got int"),
        (lambda m: m.modules.import_(5, records=["a"]), "`folder` must be a string or a path"),
        (lambda m: m.ask([]), "`question` must not be empty"),
        (
            lambda m: m.ask([{"role": "bot", "content": "Who?"}]),
            r"`role` must be one of \('system', .*, got 'bot'",
        ),
        (lambda m: m.ask(["Who?", "Where?"]), r"got a list of strings\nHint: ask_batch\(\)"),
        (lambda m: m.ask_batch(5), "`questions` must be a list, got int: 5"),
        (lambda m: m.ask("Who?", sampling={"seed": 1}), "`sampling` must be a .*Sampling`, got d"),
        (lambda m: m.add([MESSAGE]), r"entry 0 of the list: .* message .*\nHint: add_messages\(\)"),
        (lambda m: m.add(["fine", "fine too", 5]), "entry 2 of the list: `text` must be a string"),
        (lambda m: m.add(Draft(text=5)), "`text` must be a string, got int: 5"),
        (
            lambda m: m.vectors.search("x"),
            r"`vector` must be numbers in one row, got the string 'x'\nHint: se",
        ),
        (lambda m: m.vectors.reembed(HashingEmbedder), "`embedder` must be .*, got the class Has"),
    ],
)
def test_what_verbs_take(shared, use, message):
    before = shared.stats()
    with pytest.raises(InvalidInputError, match=message):
        use(shared)
    assert shared.stats() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedder": 3}, "`embedder` must be .*`memkit.protocols.Embedder`, got int: 3"),
        ({"embedder": len}, r"got builtin_function.*\nHint: It has no `name`, no `dim`"),
        ({"embedder": Duck()}, r"\nHint: It has no `dim`, no `encode_query`, no `encode_document`"),
        (
            {"embedder": HashingEmbedder},
            r"the class HashingEmbedder\nHint: .*HashingEmbedder\(...\)",
        ),
        (
            {"base_model": HashingModel},
            r"`base_model` must be .* the class HashingModel\nHint: Give",
        ),
        (
            {"backends": ["rag", Tags]},
            r"`backends` must be .*, got the class Tags\nHint: Give an in",
        ),
        ({"backends": ["rag", Duck()]}, r"got Duck: .*\nHint: Derive .*`memkit.protocols.Backend`"),
        ({"backends": object()}, "`backends` must be .*, got object"),
        (
            {"backends": "rag"},
            r"`backends` must be .*, got the string 'rag'\nHint: Put it into a l",
        ),
        ({"backends": Tags()}, r"`backends` must be .*, got Tags: .*\nHint: Put it into a list"),
        ({"recipe": {"retries": 1}}, "`recipe` must be a `Recipe`, got dict"),
        ({"ranking": {"words": 1}}, "`ranking` must be a `memkit.rag.fusion.Ranking`, got dict"),
        ({"reranker": 3}, "`reranker` must be .*, got int: 3"),
        ({"count_tokens": 3}, "`count_tokens` must be .*, got int: 3"),
        ({"busy_timeout": "soon"}, "`busy_timeout` must be a number, got the string 'soon'"),
    ],
)
def test_what_a_memory_is_made_of(tmp_path, opener, options, message):
    with pytest.raises(InvalidInputError, match=message):
        opener(tmp_path / "m", **options)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recipe(lora={}), "`lora` must be a `LoraSpec`, got dict"),
        (lambda: Recipe(train=3), "`train` must be a `TrainSpec`, got int: 3"),
        (lambda: Recipe(prompt_format="{evidence}"), "`prompt_format` must be a `PromptFormat`"),
        (lambda: Recipe(synthesizer=3), "`synthesizer` must be a"),
        (lambda: Recipe(records_per_module=0), "`records_per_module` must be an integer of at le"),
        (lambda: Recipe(retries=-1), "`retries` must be an integer of at least 0, got -1"),
        (lambda: Recipe(reworded_bar="high"), "`reworded_bar` must be a number"),
        (lambda: Recipe(row_dtype=["float16"]), "`row_dtype` must be one of"),
        (lambda: LoraSpec(rank="4"), "`rank` must be an integer of at least 1, got '4'"),
        (lambda: LoraSpec(alpha="8"), "`alpha` must be a number"),
        (lambda: LoraSpec(layers=0.5), "`layers` must be two fractions"),
        (lambda: LoraSpec(layers=("0", "1")), "`layers` must be two fractions"),
        (lambda: TrainSpec(epochs="3"), "`epochs` must be an integer of at least 1, got '3'"),
        (lambda: TrainSpec(learning_rate="1e-3"), "`learning_rate` must be a number"),
        (lambda: PromptFormat(opening=3), "`opening` must be a string, got int: 3"),
        (lambda: Memory(5), "`path` must be a string or a path, got int: 5"),
        (lambda: Memory.open(None), "`path` must be a string or a path, got None"),
        (lambda: AsyncMemory("agent.mem"), r"got the string 'agent.mem'\nHint: AsyncMemory.open"),
    ],
)
def test_what_is_made_by_hand(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m, p: m.import_(p / "no"), r"there is no file .*no' to import: it does not exist"),
        (lambda m, p: m.import_(p), "there is no file .* to import: it is a folder"),
        (lambda m, p: m.export(p / "no" / "file"), r"there is no folder '[^']*/no' to write"),
        (lambda m, p: m.modules.import_(p / "no", records=["a"]), r"there is no folder .*/no'"),
    ],
)
def test_places_that_do_not_exist(shared, tmp_path, use, message):
    with pytest.raises(StorageError, match=message + r"[^\n]*\nHint:"):
        use(shared, tmp_path)


@pytest.mark.parametrize(("evidence", "came"), [(None, "None"), ([HIT], "list: ")])
def test_what_a_backend_recalls(tmp_path, open_memory, evidence, came):
    own = open_memory(tmp_path / "m", backends=["rag", Tags(evidence)])
    message = f"`recall` of the backend 'tags' must return `Evidence`, got {came}"
    with pytest.raises(InvalidInputError, match=message):
        own.recall("Who?")


@pytest.mark.parametrize(
    ("examples", "came"),
    [(None, "None"), ([("q", "a")], "a list with tuple"), ("qa", "the string")],
)
def test_what_a_synthesizer_makes(tmp_path, open_memory, recipe, examples, came):
    class Own:
        key = "own"

        def examples(self, records):
            return examples

    own = open_memory(tmp_path / "m", recipe=dataclasses.replace(recipe, synthesizer=Own()))
    own.add(RECORD.text)
    message = f"`synthesizer.examples` must return a list of `Example`, got {came}"
    with pytest.raises(InvalidInputError, match=message):
        own.consolidate()


def test_what_a_language_model_generates(tmp_path, open_memory):
    class Own(HashingModel):
        def generate(self, prompts, *args, **kwargs):
            return ["an answer"] * len(prompts)

    own = open_memory(tmp_path / "m", base_model=Own(), backends=["rag"])
    with pytest.raises(InvalidInputError, match=r"`generate` of the language model .* a list with"):
        own.ask("Who?")


def test_a_cleanup_that_fails_does_not_hide_why_opening_did(tmp_path, open_memory):
    class Broken(Tags):
        def sync(self, records):
            raise RuntimeError("sync")

        def close(self):
            raise RuntimeError("close")

    with pytest.raises(RuntimeError, match="sync"):
        open_memory(tmp_path / "m", backends=["rag", Broken()])
    open_memory(tmp_path / "m", backends=["rag"]).add("The ledger was let go.")


@pytest.mark.parametrize(
    ("use", "known"),
    [
        (lambda m: m.search("x", limit=5), "k, scope, where, "),
        (lambda m: m.ask("x", limit=5), "budget, scope, where, "),
        (lambda m: m.recall("x", limit=5), "budget, scope, where, "),
        (lambda m: Memory.open("x", limit=5), "create, backends, base_model, "),
    ],
)
def test_the_names_of_all_keyword_arguments_are_given(shared, use, known):
    with pytest.raises(TypeError, match=f"'limit'; these are known: {known}"):
        use(shared)


def test_the_class_is_called_like_open(tmp_path):
    with Memory(tmp_path / "m", embedder=HashingEmbedder(), backends=["rag"]) as memory:
        assert memory.add("a").text == "a"
        assert memory.vectors.embedder.name == HashingEmbedder().name
    with pytest.raises(NotAMemoryError):
        Memory(tmp_path / "nowhere", create=False)


def test_a_record_is_in_its_memory(shared):
    assert RECORD in shared
    assert "a" in shared
    assert new_record("b", RECORD.text) not in shared
    assert 5 not in shared
    for text in ("", "a\0", "\ud800", "x" * 300):
        assert text not in shared


def test_a_memory_that_is_not_open_yet(tmp_path):
    with pytest.raises(AttributeError, match=r"not open yet, so it has no 'count'.*`async with"):
        AsyncMemory.open(tmp_path / "m").count()
    with pytest.raises(TypeError, match="expected `async with`"), AsyncMemory.open(tmp_path / "m"):
        pass

    async def opened():
        async with AsyncMemory.open(tmp_path / "m", backends=["buffer"]) as memory:
            return await memory.count()

    assert asyncio.run(opened()) == 0


def test_values_read_well():
    said = dataclasses.replace(
        RECORD, metadata={"role": "user", "name": "Ann"}, said_at=datetime(2025, 3, 4, tzinfo=UTC)
    )
    assert str(RECORD) == "a  The archive is on the second floor."
    assert str(said) == "a  The archive is on the second floor.  (user Ann, 2025-03-04)"
    assert str(TURN) == "user: Where is the archive?"
    assert str(dataclasses.replace(TURN, name="Ann", content="a\nb")) == "user (Ann): a b"
    version = Version("a", 2, "x" * 101, None, None, {"role": "assistant"}, NOON)
    assert str(version) == "v2  " + "x" * 99 + "…  (assistant)"


def test_without_adapters_nothing_is_said_of_a_threshold(tmp_path, open_memory):
    memory = open_memory(tmp_path / "m", backends=["rag"])
    memory.add(RECORD.text, id="a")
    assert str(memory.explain("Where is the archive?")).splitlines()[:3] == [
        "query: Where is the archive?",
        "route: none (the base model answers untouched)",
        "  because there are no adapters: the memory was opened without 'lora'",
    ]
    assert "threshold" not in str(memory.explain("Where is the archive?"))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m, many: m.add(many), "entry 0 of the list: `text` must be a string, got int: 0"),
        (lambda m, many: m.items.write(many), "`items` must be `NewItem`s, got int: 0"),
        (lambda m, many: m.items.write((), many), "an address must be a namespace and a key"),
        (lambda m, many: m.items.get(many), "an address must be a namespace and a key"),
        (lambda m, many: m.items.write([NewItem(("a",), "k", {}, many)]), "numbers in one row"),
        (lambda m, many: list(m.items.nearest(("a",), many)), "at most 1,048,576 numbers"),
        (lambda m, many: m.get_many(many), "`id` must be a string, got int: 0"),
        (lambda m, many: m.add_turns(many), "turn 0: `turn` must be a `TurnDraft`"),
    ],
)
def test_of_a_billion_wrong_values_the_first_is_refused(shared, use, message):
    """Nobody makes a list of them before."""
    with pytest.raises(InvalidInputError) as caught:
        use(shared, range(10**9))
    assert message in caught.value.message


URLS = ["mysql://ann:secret@h/db", "POSTGRESQL://ann:secret@h/db", "file:///tmp/x", "s3://secret/x",
        "postgresql+psycopg://ann:secret@h/db"]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_no_path(shared, tmp_path, monkeypatch, url):
    """It would be a folder of that name, and the server that was meant would know nothing."""
    monkeypatch.chdir(tmp_path)
    for use in (
        lambda: Memory.open(url),
        lambda: asyncio.run(open_async(url)),
        lambda: shared.export(url),
        lambda: shared.import_(url),
        lambda: check(url),
    ):
        with pytest.raises(InvalidInputError, match="a path on this machine, got a URL") as caught:
            use()
        assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


async def open_async(place):
    async with AsyncMemory.open(place, backends=["buffer", "rag"]):
        pass


def test_a_server_is_meant_by_its_url_in_another_thread_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"no connection to postgresql://127\.0\.0\.1:1/db"):
        asyncio.run(open_async("postgresql://127.0.0.1:1/db"))
    assert not list(tmp_path.iterdir())
