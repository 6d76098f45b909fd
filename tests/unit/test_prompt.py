"""Evidence as prompt text under a budget."""

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.answering.prompt import PromptFormat, assemble
from memkit.errors import InvalidInputError
from memkit.text.quoting import quoted
from memkit.types import Evidence, Hit, Record, Turn

NOW = datetime(2024, 1, 1, tzinfo=UTC)
FORMAT = PromptFormat()


def hit(id, text):
    record = Record(id, text, None, None, {}, {}, NOW, NOW, 1, "hash")
    return Hit(record, text, 0, len(text), score=1.0, similarity=0.5)


def turn(id, content, role="user"):
    return Turn(id, role, content, {}, NOW, None)


def words(text):
    return len(text.split())


def pieces(text):
    """Like a tokenizer: runs of word characters, of spaces, and single signs."""
    return len(re.findall(r"\w+|\s+|.", text))


BOTH = Evidence(
    hits=(hit("r1", "The badge number is 4471."), hit("r2", "The archive is closed.\n")),
    turns=(turn("t1", "Hello"), turn("t2", "How can I help?", "assistant")),
)


def test_the_format():
    assembled = assemble([BOTH], budget=100, count=words, prompt_format=FORMAT)
    assert assembled.text == (
        "Facts:\n"
        "- The archive is closed.\n"
        "- The badge number is 4471.\n"
        "\n"
        "Conversation so far:\n"
        "user: Hello\n"
        "assistant: How can I help?"
    )
    assert assembled.hits == BOTH.hits
    assert assembled.turns == BOTH.turns
    assert (assembled.tokens, assembled.omitted) == (words(assembled.text), 0)


def test_who_said_it_and_when_if_that_was_told():
    said_at = datetime(2023, 5, 8, 23, 59, tzinfo=UTC)
    one, two = BOTH.hits
    of_a_turn = {"role": "user", "name": "Ann"}
    hits = (
        replace(one, record=replace(one.record, said_at=said_at, metadata=of_a_turn)),
        replace(two, record=replace(two.record, said_at=said_at, metadata={"name": "a.pdf"})),
    )
    turns = (
        replace(BOTH.turns[0], said_at=said_at, name="Ann"),
        replace(BOTH.turns[1], name="Kit\n[a]"),
    )
    assembled = assemble(
        [Evidence(hits=hits, turns=turns)], budget=100, count=words, prompt_format=PromptFormat()
    )
    assert assembled.text == (
        "Facts:\n"
        "- [8 May 2023] The archive is closed.\n"
        "- [8 May 2023, Ann] The badge number is 4471.\n"
        "\n"
        "Conversation so far:\n"
        "user: [8 May 2023, Ann] Hello\n"
        "assistant: [Kit [a)] How can I help?"
    )
    assert assembled.tokens == words(assembled.text)


def test_passages_alone_and_turns_alone():
    only_hits = assemble(
        [Evidence(hits=BOTH.hits[:1])], budget=99, count=words, prompt_format=PromptFormat()
    )
    assert only_hits.text == "Facts:\n- The badge number is 4471."
    only_turns = assemble(
        [Evidence(turns=BOTH.turns[:1])], budget=99, count=words, prompt_format=PromptFormat()
    )
    assert only_turns.text == "Conversation so far:\nuser: Hello"


def test_nothing_to_say():
    assembled = assemble([], budget=10, count=words, prompt_format=FORMAT)
    assert (assembled.text, assembled.tokens, assembled.omitted) == ("", 0, 0)


def test_no_budget_omits_everything():
    assembled = assemble([BOTH], budget=0, count=words, prompt_format=FORMAT)
    assert (assembled.text, assembled.tokens, assembled.omitted) == ("", 0, 4)


def test_the_budget_includes_headers_and_dashes():
    one = [Evidence(hits=BOTH.hits[:1])]
    assert (
        assemble(one, budget=7, count=words, prompt_format=FORMAT).tokens == 7
    )  # "Facts:", the dash and five words
    assert assemble(one, budget=6, count=words, prompt_format=FORMAT).omitted == 1


def test_a_passage_that_does_not_fit_gives_way_to_smaller_ones():
    found = Evidence(hits=(hit("r1", "a b"), hit("r2", "c " * 50), hit("r3", "d e")))
    assembled = assemble([found], budget=10, count=words, prompt_format=FORMAT)
    assert assembled.text == "Facts:\n- d e\n- a b"
    assert [hit.id for hit in assembled.hits] == ["r1", "r3"]
    assert assembled.omitted == 1


def test_the_newest_turns_are_kept_without_gaps():
    talk = Evidence(
        turns=(turn("t1", "a"), turn("t2", "b " * 50), turn("t3", "c"), turn("t4", "d"))
    )
    assembled = assemble([talk], budget=20, count=words, prompt_format=FORMAT)
    assert assembled.text == "Conversation so far:\nuser: c\nuser: d"
    assert assembled.omitted == 2  # "a" would fit, but an answer without its question misleads


def test_turns_take_half_of_what_passages_want():
    turns = tuple(turn(f"t{i}", "x") for i in range(20))  # two words each, and three on top
    hits = tuple(hit(f"r{i}", f"y{i}") for i in range(20))  # two words each, and one on top
    assembled = assemble(
        [Evidence(hits=hits, turns=turns)], budget=40, count=words, prompt_format=PromptFormat()
    )
    assert len(assembled.turns) == 8  # 3 + 8 * 2 = 19 of 20
    assert len(assembled.hits) == 10  # 1 + 10 * 2 = 21, the rest
    assert assembled.tokens == 40
    assert assembled.turns == turns[-8:]


def test_room_that_one_leaves_goes_to_the_other():
    many = tuple(turn(f"t{i}", "x") for i in range(20))
    assembled = assemble(
        [Evidence(hits=(hit("r1", "y"),), turns=many)],
        budget=40,
        count=words,
        prompt_format=PromptFormat(),
    )
    assert (len(assembled.hits), len(assembled.turns)) == (1, 17)  # 3 + 3 + 17 * 2 = 40
    facts = tuple(hit(f"r{i}", f"y{i}") for i in range(20))
    assembled = assemble(
        [Evidence(hits=facts, turns=many[:1])], budget=40, count=words, prompt_format=PromptFormat()
    )
    assert (len(assembled.hits), len(assembled.turns)) == (17, 1)  # 5 + 1 + 17 * 2 = 40


def test_a_record_from_two_backends_is_shown_once():
    again = Evidence(hits=(hit("r1", "another passage of it"),))
    assembled = assemble([BOTH, again], budget=100, count=words, prompt_format=FORMAT)
    assert [hit.text for hit in assembled.hits] == [hit.text for hit in BOTH.hits]
    assert assembled.omitted == 0


@pytest.mark.parametrize("budget", [-1, 1.5, None, True])
def test_budget_is_checked(budget):
    with pytest.raises(InvalidInputError, match="`budget` must be an integer of at least 0, got"):
        assemble([BOTH], budget=budget, count=words, prompt_format=FORMAT)


CONTENTS = st.text(st.sampled_from("ab \n."), max_size=30).map(lambda text: "x" + text)
COUNTS = st.sampled_from(
    [
        words,
        pieces,
        len,
        lambda text: 1 + len(text) // 4,  # a token of overhead for every call
        lambda text: len(text) ** 2,  # the whole takes far more than its parts
        lambda text: int(len(text) ** 0.5),  # ... far less
    ]
)


@settings(deadline=None)
@given(st.lists(CONTENTS, max_size=8), st.lists(CONTENTS, max_size=8), st.integers(0, 200), COUNTS)
def test_never_over_budget_and_nothing_unaccounted_for(facts, talk, budget, count):
    found = Evidence(
        hits=tuple(hit(f"r{i}", f"{text} f{i}") for i, text in enumerate(facts)),
        turns=tuple(turn(f"t{i}", text) for i, text in enumerate(talk)),
    )
    assembled = assemble([found], budget=budget, count=count, prompt_format=FORMAT)
    assert assembled.tokens <= budget
    assert assembled.tokens == (count(assembled.text) if assembled.text else 0)
    shown = len(assembled.hits) + len(assembled.turns)
    assert shown + assembled.omitted == len(facts) + len(talk)
    assert [h for h in found.hits if h in assembled.hits] == list(assembled.hits)
    assert assembled.turns == found.turns[len(talk) - len(assembled.turns) :]
    for chosen in assembled.hits:
        assert f"- {indented(chosen.text)}" in assembled.text
    for chosen in assembled.turns:
        assert f"user: {indented(chosen.content)}" in assembled.text


def indented(text):
    return "\n  ".join(line.rstrip() for line in text.strip().split("\n") if line.strip())


def test_the_tokenizer_is_asked_about_each_piece_once():
    asked = []

    def count(text):
        asked.append(text)
        return words(text)

    found = Evidence(
        hits=tuple(hit(f"r{i}", f"some words of fact {i}") for i in range(300)),
        turns=tuple(turn(f"t{i}", "some words of a turn") for i in range(300)),
    )
    assembled = assemble([found], budget=2000, count=count, prompt_format=FORMAT)
    assert assembled.omitted > 0
    # Each piece once, the turn at which the first half is full again, and the whole text.
    assert len(asked) <= 602


@pytest.mark.slow
@pytest.mark.parametrize("text", ["word " * 400_000, "x" * 2_000_000, "[" * 2_000_000])
def test_of_a_text_that_cannot_fit_only_a_beginning_is_counted(text):
    counted = []

    def count(text):
        counted.append(len(text))
        return len(re.findall(r"\w{1,8}|\s+|.", text))

    found = Evidence(hits=(hit("long", text), hit("short", "It is red.")))
    for budget in (1, 50, 1000):
        counted.clear()
        assembled = assemble([found], budget=budget, count=count, prompt_format=FORMAT)
        assert [shown.id for shown in assembled.hits] == (["short"] if budget > 1 else [])
        assert assembled.omitted == 2 - len(assembled.hits)
        assert sum(counted) < 50_000


def test_a_long_text_that_fits_is_in_the_prompt():
    """A tokenizer may read very long words, or many blanks, as one token."""
    text = f"{'x' * 100_000} {'y' * 100_000}"
    assembled = assemble([Evidence(hits=(hit("r1", text),))], budget=9, count=words,
                         prompt_format=FORMAT)  # fmt: skip
    assert assembled.text == f"Facts:\n- {text}"


@given(st.text("ab [\n", max_size=9000), st.integers(1, 40), st.sampled_from([words, pieces]))
def test_looking_at_beginnings_first_changes_no_choice(text, budget, count):
    found = Evidence(hits=(hit("r1", f"{text}a" * 4),))
    fits = count(f"{FORMAT.facts}\n- {quoted(f'{text}a' * 4)}") <= budget
    assembled = assemble([found], budget=budget, count=count, prompt_format=FORMAT)
    assert bool(assembled.hits) == fits


def test_prompt_takes_no_heavy_library():
    import subprocess

    heavy = "torch faiss transformers sentence_transformers numpy"
    code = (
        "import sys, memkit.answering.prompt; "
        f"sys.exit(any(m in sys.modules for m in {heavy.split()}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def spoken(id, text, name):
    """A hit that was a turn."""
    plain = hit(id, text)
    metadata = {"role": "user", "name": name}
    return replace(plain, record=replace(plain.record, metadata=metadata))


def test_a_fact_is_not_repeated_as_a_turn():
    """The turns that do not fit into their half come after the facts."""
    talk = (
        replace(turn("t1", "I live in Oslo."), record_id="r1"),
        turn("t2", "I moved to Malmö."),
        turn("t3", "one two three four five"),
    )
    evidence = Evidence(hits=(hit("r1", "I live in Oslo."),), turns=talk)
    assembled = assemble([evidence], budget=22, count=words, prompt_format=FORMAT)
    assert assembled.text == (
        "Facts:\n- I live in Oslo.\n\nConversation so far:\n"
        "user: I moved to Malmö.\nuser: one two three four five"
    )
    assert assembled.omitted == 0


def test_a_text_is_in_a_prompt_once_unless_somebody_else_said_it():
    ann, bob = spoken("r1", "It is red.", "Ann"), spoken("r2", "It is red.", "Bob")
    plain = hit("r3", "It  is red.")
    assert prompt_of(ann, bob) == ["- [Bob] It is red.", "- [Ann] It is red."]
    assert prompt_of(plain, ann) == ["- It  is red."]
    assert prompt_of(ann, plain) == ["- [Ann] It is red."]
    said = replace(turn("t1", "It is red."), name="Ann")
    assert prompt_of(ann, bob, turns=(said, said)) == [
        "- [Bob] It is red.",
        "Conversation so far:",
        "user: [Ann] It is red.",
        "user: [Ann] It is red.",
    ]
    assert prompt_of(plain, turns=(said,)) == ["user: [Ann] It is red."]


def prompt_of(*hits, turns=()):
    """The lines of a prompt without the first, which is a heading."""
    evidence = Evidence(hits=hits, turns=turns)
    assembled = assemble([evidence], budget=100, count=words, prompt_format=FORMAT)
    assert assembled.omitted == 0
    return [line for line in assembled.text.split("\n")[1:] if line]


def test_statements_in_an_order_are_dated():
    older, newer = spoken("r1", "I live in Oslo.", "Ann"), spoken("r2", "I moved.", "Ann")
    lines = prompt_of(replace(newer, order="latest"), replace(older, order="earlier"))
    assert lines == [
        "- [earlier, 1 January 2024, Ann] I live in Oslo.",
        "- [latest, 1 January 2024, Ann] I moved.",
    ]


def test_a_turn_is_not_repeated_as_a_fact():
    spoken = replace(turn("t1", "I moved to room 12."), record_id="r2")
    found = Evidence(hits=(hit("r1", "Room 12 is big."), hit("r2", "I moved to room 12.")))
    assembled = assemble(
        [found, Evidence(turns=(spoken,))], budget=99, count=words, prompt_format=PromptFormat()
    )
    assert assembled.text == (
        "Facts:\n- Room 12 is big.\n\nConversation so far:\nuser: I moved to room 12."
    )
    assert assembled.omitted == 0
