"""Search among the turns of a conversation: who spoke, and what was said around."""

from datetime import UTC, datetime, timedelta

import pytest

from memkit.errors import InvalidInputError, ModelUnavailableError
from memkit.rag.fusion import Ranking
from memkit.rag.query_rewrite import RewrittenQuery
from memkit.types import Draft

ANN, BOB = "Ann", "Bob"


@pytest.mark.parametrize(
    ("text", "first_person", "without_names", "speakers"),
    [
        ("When did Ann go?", "When did I go?", "When did go?", {ANN}),
        ("Where did Ann's dog sleep?", "Where did my dog sleep?", "Where did dog sleep?", {ANN}),
        ("Did Ann meet Bob?", "Did I meet I?", "Did meet ?", {ANN, BOB}),
        ("where is ann now?", "where is I now?", "where is now?", {ANN}),
        ("Who is Annabel?", "Who is Annabel?", "Who is Annabel?", set()),
        ("Is ann a word in Norse?", "Is ann a word in Norse?", "Is ann a word in Norse?", set()),
        ("Ann?", "I?", "Ann?", {ANN}),
    ],
)
def test_a_question_about_a_speaker_is_put_in_the_first_person(
    text, first_person, without_names, speakers
):
    query = RewrittenQuery.of(text, [ANN, BOB])
    assert (query.text, query.first_person, query.without_names) == (
        text,
        first_person,
        without_names,
    )
    assert query.speakers == speakers


def test_a_speaker_is_known_by_first_name():
    query = RewrittenQuery.of("What does Ann sell?", ["Ann Smith"])
    assert query.speakers == {"Ann Smith"}
    assert RewrittenQuery.of("What does Ann Smith sell?", ["Ann Smith"]).first_person == (
        "What does I sell?"
    )


@pytest.fixture
def memory(tmp_path, open_memory):
    return open_memory(tmp_path / "memory", backends=["rag"])


def say(memory, *lines, scope=None):
    """Add turns written as "Name: text"; returns the ids of their records."""
    ids = []
    for line in lines:
        name, _, text = line.partition(": ")
        ids.append(memory.add_turn("user", text, name=name, scope=scope or {}).record_id)
    return ids


def test_turns_of_others_lose_when_a_speaker_is_named(memory):
    anns, bobs = say(memory, "Ann: a red kite was lost", "Bob: the red kite was lost")
    plain = memory.add("A red kite was lost by somebody.").id
    hits = {hit.id: hit for hit in memory.search("Which red kite did Bob lose?")}
    assert "stranger" in hits[anns].parts
    assert "stranger" not in hits[bobs].parts
    assert hits[plain].parts.keys() == {"meaning", "words"}
    assert hits[bobs].score > hits[anns].score
    for hit in hits.values():
        assert hit.score == pytest.approx(sum(hit.parts.values()))
    unnamed = memory.search("Which red kite was lost?")
    assert not any("stranger" in hit.parts for hit in unnamed)


def test_words_said_around_a_turn_count_for_it(memory):
    before, answer, far = say(
        memory,
        "Ann: tell me about the lighthouse keeper",
        "Bob: seventy years old by now",
        *(f"Ann: something else number {n}" for n in range(4)),
    )[:3]
    other = memory.add("seventy years old by now, they say").id
    hits = {hit.id: hit for hit in memory.search("the keeper of the lighthouse", k=20)}
    assert hits[before].parts["words"] > hits[answer].parts["words"] > 0
    assert hits[far].parts["words"] > 0
    assert hits[other].parts["words"] == 0  # a record that nobody said has no neighbours


def test_what_was_said_on_a_day_that_is_named_gains(memory):
    def tell(text, day):
        return memory.add_turn("user", text, name=ANN, at=datetime(2023, 5, day, tzinfo=UTC))

    talk = [tell(f"We cooked dish number {n} for lunch.", 2 * n).record_id for n in range(1, 15)]
    plain = memory.add("A dish for lunch.").id
    dated = memory.add("We had a dish for lunch.", at=datetime(2023, 5, 10, tzinfo=UTC)).id

    hits = {hit.id: hit for hit in memory.search("What did Ann cook on 10 May 2023?", k=20)}
    best = Ranking().time
    assert hits[talk[4]].parts["time"] == hits[dated].parts["time"] == best
    assert hits[talk[3]].parts["time"] == hits[talk[5]].parts["time"] == pytest.approx(best * 5 / 7)
    assert hits[talk[7]].parts["time"] == pytest.approx(best / 7)
    assert "time" not in hits[talk[8]].parts.keys() | hits[plain].parts.keys()
    for hit in hits.values():
        assert hit.score == pytest.approx(sum(hit.parts.values()))
    assert memory.search("What did Ann cook for lunch on 22 May?", k=1)[0].id == talk[10]
    assert not any("time" in hit.parts for hit in memory.search("What did Ann cook?", k=20))


def test_what_was_said_yesterday_is_told_from_now(memory):
    memory._engine.ledger._database.clock = lambda: datetime(2023, 5, 9, 8, tzinfo=UTC).timestamp()
    days = [datetime(2023, 5, day, 23, tzinfo=UTC) for day in (7, 8, 9)]
    ids = [memory.add_turn("user", f"Lunch was {day.day}.", at=day).record_id for day in days]
    now = memory.add_turn("user", "Lunch was late.").record_id  # nobody says when: now

    def timely(text, **period):
        hits = {hit.id: hit.parts.get("time") for hit in memory.search(text, k=9, **period)}
        return [id for id in [*ids, now] if hits.get(id) == Ranking().time]

    assert timely("What was lunch yesterday?") == [ids[1]]
    assert timely("What was lunch today?") == [ids[2], now]
    assert timely("What was lunch yesterday?", until=days[1]) == []


def test_a_day_that_is_named_is_looked_for_among_thousands(memory):
    scope = {"user": "ann"}
    log = [
        Draft(
            f"We had lunch at place{n}.",
            scope=scope,
            at=datetime(2020, 1, 1, 12, tzinfo=UTC) + timedelta(days=n),
        )
        for n in range(900)
    ]
    ids = [record.id for record in memory.add(log)]
    wanted = (datetime(2022, 3, 8, tzinfo=UTC) - datetime(2020, 1, 1, tzinfo=UTC)).days
    question = "What lunch did we have on 8 March 2022?"
    assert memory.search(question, k=1, scope=scope)[0].id == ids[wanted]
    assert memory.search(question, k=1) == []  # nor does it show what others said
    assert memory.search(question, k=1, scope=scope, where={"no": 1}) == []


def test_neighbours_are_of_the_same_conversation(memory):
    say(memory, "Ann: the lighthouse keeper", scope={"user": "u1"})
    (answer,) = say(memory, "Bob: seventy years old", scope={"user": "u2"})
    (hit,) = memory.search("lighthouse keeper", scope={"user": "u2"})
    assert (hit.id, hit.parts["words"]) == (answer, 0)


def test_speakers_of_other_scopes_are_not_known(memory):
    say(memory, "Bob: the kite is mine", scope={"user": "u1"})
    (anns,) = say(memory, "Ann: the kite is mine", scope={"user": "u2"})
    (hit,) = memory.search("Which kite does Bob own?", scope={"user": "u2"})
    assert hit.id == anns
    assert "stranger" not in hit.parts


def test_a_filter_keeps_neighbours_out_but_lets_them_count(memory):
    say(memory, "Ann: about the lighthouse keeper", "Bob: seventy years old")
    hits = memory.search("lighthouse keeper", where={"name": BOB})
    assert [hit.record.metadata["name"] for hit in hits] == [BOB]
    assert hits[0].parts["words"] > 0


def test_questions_lose_to_statements(memory):
    asks, tells = say(memory, "Ann: is the kite red?", "Bob: the kite is red")
    hits = {hit.id: hit for hit in memory.search("the kite is red")}
    assert hits[asks].parts["question"] == -Ranking().question
    assert "question" not in hits[tells].parts


def test_turns_know_who_spoke_and_when(memory):
    turn = memory.add_turn("user", "hello from the harbour", name=ANN)
    assert (turn.name, memory.turns()[0].name) == (ANN, ANN)
    assert memory.get(turn.record_id).metadata == {"role": "user", "name": ANN}
    with pytest.raises(InvalidInputError, match="`name` must not be empty"):
        memory.add_turn("user", "hello", name=" ")


def test_recency_counts_if_asked_for(tmp_path, open_memory):
    now = datetime.now(UTC)
    memory = open_memory(
        tmp_path / "memory", backends=["rag"], ranking=Ranking(recency=4.0, half_life=10.0)
    )
    old = memory.add("The kite is red.", at=now - timedelta(days=20)).id
    new = memory.add("The kite is red, too.", at=now).id
    hits = {hit.id: hit for hit in memory.search("red kite")}
    assert hits[old].parts["recency"] == pytest.approx(1.0, abs=0.01)
    assert hits[new].parts["recency"] == pytest.approx(4.0, abs=0.01)


def test_a_reranker_has_the_last_word(tmp_path, open_memory):
    def longest(query, texts):
        assert query == "kite"
        return [len(text) for text in texts]

    memory = open_memory(tmp_path / "memory", backends=["rag"], reranker=longest)
    for text in ("kite", "a kite", "no such thing at all"):
        memory.add(text)
    hits = memory.search("kite", k=2)
    assert [(hit.text, hit.parts) for hit in hits] == [
        ("no such thing at all", {"reranker": 20.0}),
        ("a kite", {"reranker": 6.0}),
    ]


def test_a_reranker_must_score_every_text(tmp_path, open_memory):
    memory = open_memory(tmp_path / "memory", backends=["rag"], reranker=lambda *_: [])
    memory.add("kite")
    with pytest.raises(InvalidInputError, match="one score for each of 1 texts, got 0"):
        memory.search("kite")


def test_a_cross_encoder_that_is_not_here_is_named(tmp_path, open_memory):
    with pytest.raises(ModelUnavailableError, match=r"no cross-encoder '.*nowhere'"):
        open_memory(tmp_path / "m", backends=["rag"], reranker=str(tmp_path / "nowhere")).search(
            "x"
        )
