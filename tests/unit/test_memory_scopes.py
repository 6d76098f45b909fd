"""Scopes are fail-closed: nothing of another scope is seen, routed to or mixed."""

import shutil

import pytest

from memkit.errors import ModuleNotFoundInMemoryError
from memkit.types import Draft

SCOPES = {
    "Nora": {},
    "Emil": {"user": "u1"},
    "Tara": {"user": "u1", "session": "s1"},
    "Owen": {"user": "u2"},
}
VISIBLE = [
    ({}, {"Nora"}),
    ({"user": "u1"}, {"Nora", "Emil"}),
    ({"user": "u1", "session": "s1"}, {"Nora", "Emil", "Tara"}),
    ({"user": "u1", "session": "s2"}, {"Nora", "Emil"}),
    ({"user": "u2"}, {"Nora", "Owen"}),
    ({"user": "U1"}, {"Nora"}),
    ({"session": "s1"}, {"Nora"}),
    ({"team": "u1"}, {"Nora"}),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory, opener, badges):
    directory = tmp_path_factory.mktemp("scopes") / "m"
    with opener(directory) as memory:
        memory.add([Draft(b.text, b.question, b.answer, SCOPES[b.id], id=b.id) for b in badges[:4]])
        report = memory.consolidate()
        assert set(report.held) == set(SCOPES)
    return directory


@pytest.fixture
def scoped(tmp_path, directory, open_memory):
    shutil.copytree(directory, tmp_path / "m")
    return open_memory(tmp_path / "m")


@pytest.mark.slow
@pytest.mark.parametrize(("scope", "expected"), VISIBLE)
def test_who_sees_what(scoped, badges, scope, expected):
    assert {hit.id for hit in scoped.search("badge number", k=10, scope=scope)} == expected
    recall = scoped.recall("What is the badge number?", 10_000, k=10, scope=scope)
    assert {hit.id for hit in recall.hits} == expected
    assert {fact.record_id for fact in recall.route.support} <= expected
    for draft in badges[:4]:
        answer = scoped.ask(draft.question, budget=0, scope=scope)
        assert (answer.text == draft.answer) == (draft.id in expected)
        assert {fact.record_id for fact in answer.route.support} <= expected


@pytest.mark.slow
def test_every_module_is_of_one_scope(scoped):
    held = {module.records: dict(module.scope) for module in scoped.modules.list()}
    assert held == {(id,): scope for id, scope in SCOPES.items()}


def test_modules_of_other_scopes_cannot_be_chosen(scoped):
    module_of = {module.records[0]: module.name for module in scoped.modules.list()}
    for scope, visible in VISIBLE:
        for id, name in module_of.items():
            if id in visible:
                assert scoped.ask("?", budget=0, modules=[name], scope=scope).route
            else:
                with pytest.raises(ModuleNotFoundInMemoryError, match="none that this scope may"):
                    scoped.ask("?", budget=0, modules=[name], scope=scope)


def test_rows_of_different_scopes_in_turn(scoped, badges):
    """The cache of query vectors and prefixes does not leak either."""
    owen = badges[3].question
    answers = [scoped.ask(owen, scope=scope) for scope in ({}, {"user": "u2"}, {"user": "u1"})]
    assert [answer.text == "5555" for answer in answers] == [False, True, False]
    assert "5555" not in answers[0].recall.text + answers[2].recall.text


def test_turns_belong_to_one_conversation(memory):
    for number, scope in enumerate(({}, {"user": "u1"}, {"user": "u1", "session": "s1"})):
        memory.add_turn("user", f"turn {number}", scope=scope, remember=False)
    for number, scope in enumerate(({}, {"user": "u1"}, {"user": "u1", "session": "s1"})):
        assert [turn.content for turn in memory.turns(scope=scope)] == [f"turn {number}"]
        assert [t.content for t in memory.recall("turn", scope=scope).turns] == [f"turn {number}"]
    assert memory.turns(scope={"user": "u2"}) == []


def test_a_listing_takes_a_scope_and_what_is_narrower(scoped):
    def ids(**selection):
        return {record.id for record in scoped.records(**selection).records}

    assert ids(scope="all") == set(SCOPES)
    assert ids() == ids(scope=None) == ids(scope={}) == {"Nora"}
    assert ids(scope={"user": "u1"}) == {"Emil", "Tara"}
    assert ids(scope={"session": "s1"}) == {"Tara"}
    assert ids(scope={"user": "u3"}) == set()
