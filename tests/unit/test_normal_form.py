"""A string and its normal forms C and D are the same string, wherever one comes in."""

import json
from unicodedata import normalize

import pytest
import zstandard
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from memkit import RecordNotFoundError
from memkit.errors import CorruptFileError
from memkit.ledger import Ledger
from memkit.ledger.items import NewItem
from memkit.memory.archive import Archive, write_archive
from memkit.types import Draft
from memkit.types.scope import contains, scope_key, visible_keys
from memkit.types.validate import normal_form

NFC, NFD = "Zo\u00eb", "Zoe\u0308"

# Letters that have a normal form D of their own, and marks that follow others.
ODD = st.sampled_from("\u00e9\u00eb\u0308\u0301\u0323\u1e69\uac00\u1100\u1161\u212b\u00c5\u0344a. ")
STRINGS = st.text(
    ODD | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8
)


def forms(text):
    return [text, normalize("NFC", text), normalize("NFD", text)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    ledger = Ledger.open(tmp_path_factory.mktemp("ledger"))
    yield ledger
    ledger.close()


@pytest.mark.slow
@given(STRINGS)
@example(NFD)
@example("\u212b")  # the sign of the angstrom, which both normal forms replace
@example("\u0344")  # a mark that form C takes apart as well
def test_what_is_added_in_one_form_is_there_in_the_others(shared, text):
    assume(text.strip() and not text.startswith("$") and text != "n")
    shared.records.delete(shared.records.ids(expired=True))
    shared.turns.delete(within={})
    drafts = [
        Draft(form, form, form, {form: form}, {form: form, "n": 1}, form, form)
        for form in forms(text)
    ]
    records = [shared.records.add([draft])[0] for draft in drafts]
    (record,) = {record.id: record for record in records}.values()
    stored = normalize("NFC", text)
    assert (record.id, record.key, record.text, record.question, record.answer) == (stored,) * 5
    assert (record.scope, record.metadata) == ({stored: stored}, {stored: stored, "n": 1})
    for form in forms(text):
        assert shared.records.unsaid([Draft(form, form, form, {form: form})]) == []
        assert shared.records.get([form], scope={form: form}) == [record]
        assert shared.records.existing([form]) == [stored]
        assert shared.records.history(form)[0].text == stored
        assert shared.records.ids(within={form: form}) == [stored]
        for where in ({form: form}, {form: {"$in": [form]}}, {form: {"$contains": form}}):
            assert shared.records.ids(where=where) == [stored]
        assert shared.records.ids(where={form: {"$nin": [form]}}) == []


@pytest.mark.slow
@given(STRINGS)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_scopes_and_items_have_one_form(shared, text):
    assume(text.strip() and "." not in text)
    assert len({scope_key({form: form}) for form in forms(text)}) == 1
    assert len({json.dumps(visible_keys({form: form})) for form in forms(text)}) == 1
    assert all(contains({a: a}, {b: b}) for a in forms(text) for b in forms(text))
    shared.items.write([NewItem((form,), form, {form: form}) for form in forms(text)])
    (item,) = shared.items.below((normalize("NFD", text),))
    stored = normalize("NFC", text)
    assert (item.namespace, item.key, item.value) == ((stored,), stored, {stored: stored})
    for form in forms(text):
        assert shared.items.get([((form,), form)]) == [item]
    shared.items.write([], [((normalize("NFD", text),), text)])
    assert shared.items.count() == 0


def test_normal_form_is_of_plain_strings():
    class Name(str):
        __slots__ = ()

        def __str__(self):
            return "other"

    assert normal_form(Name(NFD)) == NFC
    assert type(normal_form(Name("a"))) is str


def test_a_user_is_forgotten_by_either_spelling(memory):
    memory.add("Plays the oboe.", scope={"user": NFC}, metadata={NFC: NFC})
    memory.add_turn("user", "The reed is new.", scope={"user": NFD}, name=NFD)
    (turn,) = memory.turns(scope={"user": NFC})
    assert turn.name == NFC
    assert memory.count(scope={"user": NFD}, where={NFD: NFD}) == 1
    receipt = memory.forget(scope={"user": NFD})
    assert (len(receipt.records), receipt.turns) == (2, 1)
    assert memory.scopes() == []


def test_verbs_take_either_spelling(memory):
    record = memory.add(f"{NFD} sits in room 7.", id=NFD, key=NFD, scope={"user": NFC})
    assert record.text == f"{NFC} sits in room 7."
    assert memory.add(f"{NFC} sits in room 7.", scope={"user": NFD}).id == NFC
    zoe = {"user": NFD}
    assert memory.get(NFD, scope=zoe) == memory.get(NFC, scope="all")
    assert memory.get_many([NFD, NFC], scope=zoe) == [memory.get(NFC, scope=zoe)] * 2
    assert memory.update(NFD, f"{NFD} sits in room 8.", scope=zoe).version == 2
    assert [v.text[-2] for v in memory.history(NFD, scope=zoe)] == ["7", "8"]
    assert memory.retention.pin(NFD, scope=zoe).pinned
    assert memory.search(NFD, scope=zoe)[0].id == NFC
    recalled = memory.recall(f"Where does {NFD} sit?", scope=zoe)
    assert recalled.query == f"Where does {NFC} sit?"
    assert memory.vectors.get([NFD], scope=zoe).keys() == {NFC}
    assert memory.forget([NFD, NFC], scope=zoe).records == (NFC,)
    with pytest.raises(RecordNotFoundError):
        memory.get(NFC, scope="all")
    memory.add("The canteen opens at noon.", id=NFC)
    assert NFD in memory


def test_a_log_is_known_again_in_either_spelling(memory):
    for spelling in (NFC, NFD):
        messages = [{"role": "user", "content": f"I am {spelling}.", "name": spelling}]
        report = memory.add_messages(messages, scope={"user": spelling})
    assert (report.turns, report.known) == ((), 1)


def test_an_import_is_normalised(tmp_path, open_memory):
    source = open_memory(tmp_path / "source", backends=["rag"])
    source.add("Zoe sits here.", id="Zoe", scope={"user": "Zoe"}, metadata={"Zoe": ["Zoe"]})
    source.items.write([NewItem(("Zoe",), "Zoe", {"Zoe": "Zoe"})])
    source.export(tmp_path / "file")
    archive = Archive(tmp_path / "file")
    entries = [json.loads(json.dumps(entry).replace("Zoe", NFD)) for _, entry in archive.entries()]
    write_archive(tmp_path / "nfd", {}, archive.header["counts"], iter(entries))
    assert NFD.encode() in zstandard.decompress(
        (tmp_path / "nfd").read_bytes(), max_output_size=10**6
    )
    target = open_memory(tmp_path / "target", backends=["rag"])
    target.import_(tmp_path / "nfd", scope={"user": NFD})
    (record,) = target.records(scope="all").records
    assert (record.id, record.text) == (NFC, f"{NFC} sits here.")
    assert (record.scope, record.metadata) == ({"user": NFC}, {NFC: [NFC]})
    target.import_(tmp_path / "nfd")
    assert target.count(scope="all") == 1
    (item,) = target.items.get([((NFD,), NFD)])
    assert item.value == {NFC: NFC}


def test_an_import_whose_keys_become_one_is_refused(tmp_path, open_memory):
    memory = open_memory(tmp_path / "m", backends=["rag"])
    memory.add("a", metadata={"x": 1, "y": 2})
    memory.export(tmp_path / "file")
    archive = Archive(tmp_path / "file")
    entries = [entry for _, entry in archive.entries()]
    entries[0]["metadata"] = {NFC: 1, NFD: 2}
    write_archive(tmp_path / "nfd", {}, archive.header["counts"], iter(entries))
    with pytest.raises(CorruptFileError, match="keys must differ in Unicode normal form C"):
        memory.import_(tmp_path / "nfd")
    assert memory.count() == 1
