"""What is asked about a record, and what of it is held out; how texts are cut into statements."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memkit.lora.training.template_synthesizer import MAX_SENTENCES, TemplateSynthesizer
from memkit.text.sentences import sentences
from memkit.types import Record

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def record(text, question=None, answer=None, id="r1"):
    return Record(id, text, question, answer, {}, {}, NOW, NOW, 1, "")


def examples(*records):
    return TemplateSynthesizer().examples(records)


def wordings(text, question=None, answer=None):
    """Trained and held-out questions, and the answers."""
    made = examples(record(text, question, answer))
    trained = [one.question for one in made if not one.held_out]
    held_out = [one.question for one in made if one.held_out]
    return trained, held_out, list(dict.fromkeys(one.answer for one in made))


def facts(text):
    """The first question about each statement, with its answer."""
    first = {}
    for one in examples(record(text)):
        first.setdefault(one.answer, one.question)
    return [(question, answer) for answer, question in first.items()]


def test_a_pair_is_asked_in_many_wordings():
    trained, held_out, answers = wordings(
        "Nora Feldt in Sales carries badge number 4471 at all times.",
        "What is the badge number of Nora Feldt?",
        "4471",
    )

    assert trained == [
        "What is the badge number of Nora Feldt?",
        "what is the badge number of nora feldt",
        "badge number Nora Feldt",
        "Tell me the badge number of Nora Feldt.",
        "What is Nora Feldt's badge number?",
        "Nora Feldt: badge number?",
        "I'm looking for Nora Feldt. Do you have the badge number?",
        "Nora Feldt in Sales carries badge number ...",
        "Nora Feldt Sales carries badge number all times?",
        "Which badge number? Nora Feldt Sales carries",
    ]
    assert held_out == [
        "Could you remind me? What is the badge number of Nora Feldt?",
        "What about badge number Nora Feldt?",
        "Please give me Nora Feldt's badge number.",
    ]
    assert answers == ["4471"]


def test_a_question_of_another_form_is_kept_whole():
    trained, held_out, answers = wordings(
        "The harbour office is run by Ada.", "Who runs the harbour office?", "Ada"
    )

    assert trained == [
        "Who runs the harbour office?",
        "who runs the harbour office",
        "runs harbour office",
        "Tell me: Who runs the harbour office?",
        "I would like to know. Who runs the harbour office?",
        "I need to know this: Who runs the harbour office?",
        "One question about runs harbour office: Who runs the harbour office?",
        "The harbour office is run by ...",
        "harbour office run?",
    ]
    assert held_out == [
        "Could you remind me? Who runs the harbour office?",
        "What about runs harbour office?",
        "Who runs the harbour office? Thanks.",
    ]
    assert answers == ["Ada"]


def test_no_wording_comes_twice():
    trained, held_out, _ = wordings("Ada sells it.", "rope", "Ada")
    assert trained.count("rope") == 1  # as it is, in lower case, and its content words

    trained, held_out, _ = wordings("Ada sells it.", "What about rope?", "Ada")
    assert trained[0] == "What about rope?"  # which is also one of those to be held out
    assert "What about rope?" not in held_out


def test_who_and_plurals_keep_their_form():
    trained, _, _ = wordings("x", "Who are the heads of Sales?", "Ada and Bob")

    assert "Who are Sales's heads?" in trained


def test_the_statement_around_the_answer_is_one_sentence():
    text = "Room 17 is on the left. It has 7 chairs. Ask Ada for more."
    made = examples(record(text, "How many chairs are there?", "7"))
    trained = [one.question for one in made if not one.held_out and one.answer == "7"]

    assert "It has 7 ..." not in trained
    assert not any("Ada" in wording or "17" in wording for wording in trained)
    assert "chairs?" in trained


def cued(words):
    """The wordings of the cue of a sentence."""
    return [
        f"What can you tell me about {words}?",
        f"what can you tell me about {words.lower()}",
        words,
    ]


def test_what_a_text_says_beside_its_pair_is_recited_by_sentences():
    more = "Walk-ins come to the small door before ten. The old lift is broken until next week."
    made, held_out, answers = wordings(f"{more} It opens at 8.", "When does it open?", "8")
    assert answers == ["8", *sentences(more)]
    assert made[-6:] == [
        *cued("Walk-ins come small door before ten"),
        *cued("old lift broken until next week"),
    ]
    assert sum("remind" in question for question in held_out) == 3

    long = " ".join(f"Room {n} holds {n} grey chairs and two round tables." for n in range(5))
    assert wordings(long, "How many chairs has room 3?", "3")[2] == ["3"]


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("Nora's badge number is 4471.", "What is Nora's badge number?", "4471"),
        ("The shop’s phone is 0123", "What is the shop's phone?", "0123"),
        ("My dog's name was Rex.", "What was my dog's name?", "Rex"),
        ("The capital of Ruritania is Strelsau.", "What is the capital of Ruritania?", "Strelsau"),
        ("The hours of the shop are 9 to 5.", "What are the hours of the shop?", "9 to 5"),
        ("The code for the safe was 3.5-a.", "What was the code for the safe?", "3.5-a"),
        ("Zoës Büro's Höhe is 3,5 m.", "What is Zoës Büro's Höhe?", "3,5 m"),
    ],
)
def test_a_plain_statement_is_learned_as_a_pair(text, question, answer):
    assert facts(text) == [(question, answer)]


@pytest.mark.parametrize(
    "text",
    [
        "The archive is on the third floor.",
        "That's why the park is closed.",
        "It's clear that the answer is no.",
        "John's car is red and Mary's car is blue.",
        "The list of people who work there is long.",
        "The reason for this is simple.",
        "If the shop's door is locked, call Ada.",
        "Nora's badge is in the drawer, which is locked.",
        "Ada sells rope.",
        "ok",
        "Rufen Sie bitte Frau Müller an.",
    ],
)
def test_any_other_sentence_is_learned_as_it_is(text):
    ((question, answer),) = facts(text)

    assert answer == text
    assert question.startswith("What can you tell me about ")


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("The archive is on the third floor.", "What can you tell me about archive third floor?"),
        ("Bus 42 stops at 10:15 near pier 7.", "What can you tell me about Bus stops near pier?"),
        ("Room 12.", "What can you tell me about Room 12?"),
        ("It is.", "What can you tell me about It is.?"),
        ("x" * 200, f"What can you tell me about {'x' * 80}?"),
    ],
)
def test_the_cue_is_what_the_sentence_is_about(text, question):
    assert facts(text)[0][0] == question


def test_each_sentence_of_a_text_is_learned():
    made = facts("Ada sells rope. The price of rope is 3 euros. Bob sells tea.")

    assert made == [
        ("What can you tell me about Ada sells rope?", "Ada sells rope."),
        ("What is the price of rope?", "3 euros"),
        ("What can you tell me about Bob sells tea?", "Bob sells tea."),
    ]


def test_nothing_of_a_long_sentence_is_lost():
    text = "Ada " + " ".join(f"word{number}" for number in range(100)) + " end."

    answers = [answer for _, answer in facts(text)]

    assert " ".join(answers) == text
    assert all(len(answer) <= 320 for answer in answers)


@pytest.mark.parametrize("text", ["!!!", "...\n\n---", "🙂 🙂", "?"])
def test_a_text_without_letters_and_figures_gives_nothing(text):
    assert examples(record(text)) == []


def test_a_text_for_which_a_module_has_no_room_gives_nothing():
    sentence = "Ada sells rope. "

    assert examples(record(sentence * MAX_SENTENCES)) != []
    assert examples(record(sentence * (MAX_SENTENCES + 1))) == []
    assert examples(record(sentence * (MAX_SENTENCES + 1), "Who sells rope?", "Ada")) != []


def test_records_come_in_order_with_their_ids():
    records = [
        record("Ada sells rope.", id="b"),
        record("!", id="-"),
        record("Bob sells tea.", id="a"),
    ]

    ids = [one.record_id for one in examples(*records)]

    assert list(dict.fromkeys(ids)) == ["b", "a"]
    assert ids == sorted(ids, reverse=True)


SHORT = st.text(min_size=1, max_size=60).filter(str.strip)
PIECES = [
    *"\n|\n\n| |- |'s | is |The | of |what is the |Dr. |e.g. |3.5 km".split("|"),
    *". ? ! … http://a.b/c?d=e 🙂 東京。 ß İ a Ada 7".split(),
]
ODD = st.lists(st.sampled_from(PIECES), min_size=1, max_size=25).map("".join)


@given(text=SHORT | ODD, pair=st.none() | st.tuples(SHORT | ODD, SHORT | ODD))
@example(text="?", pair=("?", "?"))
@example(text="the", pair=("the", "the"))
@example(text="What is the of of?", pair=("what is the a of b?", "What is the of of?"))
def test_examples_of_any_text_can_be_asked(text, pair):
    question, answer = pair or (None, None)
    if not text.strip() or (pair and not (question.strip() and answer.strip())):
        return  # no record is blank
    made = examples(record(text, question, answer))

    assert made == examples(record(text, question, answer))
    for one in made:
        assert one.record_id == "r1"
        assert one.question == one.question.strip() != ""
        assert one.answer.strip()
    by_answer = {}
    for one in made:
        by_answer.setdefault(one.answer, []).append(one)
    first, *others = by_answer or [None]
    assert not pair or (first == answer and set(others) <= set(sentences(text)))
    for one_fact in by_answer.values():
        trained = [one.question for one in one_fact if not one.held_out]
        held_out = [one.question for one in one_fact if one.held_out]
        assert trained
        assert not set(trained) & set(held_out)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada sells rope. Bob sells tea.", ["Ada sells rope.", "Bob sells tea."]),
        (
            "Dr. Smith met Ms. Lee at St. Anna. They left.",
            ["Dr. Smith met Ms. Lee at St. Anna.", "They left."],
        ),
        ("Tools, e.g. hammers, i.e. heavy ones.", ["Tools, e.g. hammers, i.e. heavy ones."]),
        ("J. R. Tolkien wrote (cf. Fig. 3) it.", ["J. R. Tolkien wrote (cf. Fig. 3) it."]),
        ("It takes 3.5 km. Then rest.", ["It takes 3.5 km.", "Then rest."]),
        ("Open till 10 a.m. on weekdays.", ["Open till 10 a.m. on weekdays."]),
        ("We sold 5. Then 6 more.", ["We sold 5.", "Then 6 more."]),
        ("See https://a.b/c.d?e=f. Stop!  Now", ["See https://a.b/c.d?e=f.", "Stop!", "Now"]),
        ('She said "Go." Then (really.) he left.', ['She said "Go."', "Then (really.) he left."]),
        ("What is the code? It is 7. Fine.", ["What is the code? It is 7.", "Fine."]),
        ("東京は首都です。人口は約1400万人です。", ["東京は首都です。", "人口は約1400万人です。"]),
        ("one\n\ntwo lines\nof text", ["one", "two lines of text"]),
        ("# Head\n- item one\n* item two\n2. three", ["Head", "item one", "item two", "three"]),
        ("well-known - a dash stays", ["well-known - a dash stays"]),
        ("a\t b   c", ["a b c"]),
        ("--- \n\n ***", []),
        (" ", []),
        ("x" * 700, ["x" * 320, "x" * 320, "x" * 60]),
    ],
)
def test_texts_are_cut_into_statements(text, expected):
    assert sentences(text) == expected


@given(st.text(max_size=300), st.integers(10, 50))
def test_nothing_that_can_be_said_is_lost(text, longest):
    cut = sentences(text, longest=longest)

    assert all(0 < len(sentence) <= longest for sentence in cut)
    kept = [character for sentence in cut for character in sentence if character.isalpha()]
    assert kept == [character for character in text if character.isalpha()]
