"""A backend of the caller's own takes part in everything that a memory does."""

from datetime import UTC, datetime

import pytest

from memkit import InvalidInputError
from memkit.protocols import Backend
from memkit.types import Evidence, Hit

ANN, BOB = {"user": "ann"}, {"user": "bob"}


class Notebook(Backend):
    """Recalls every record that it was told about, and notes what is done to it."""

    name = "notebook"

    def __init__(self):
        self.calls, self.records = [], {}

    def sync(self, records):
        self.calls.append("sync")
        self.write(records.find(records.ids()))

    def prepare(self, drafts):
        self.calls.append(f"prepare {len(drafts)}")

    def write(self, records):
        self.records |= {record.id: record for record in records}

    def recall(self, query):
        hits = [Hit(r, r.text, 0, len(r.text), 1.0, None) for r in self.records.values()]
        return Evidence(tuple(hits))

    def delete(self, ids):
        self.calls.append("delete")
        for id in ids:
            self.records.pop(id, None)

    def scrub(self):
        self.calls.append("scrub")

    def stats(self):
        return {"records": len(self.records)}

    def close(self):
        self.calls.append("close")


@pytest.fixture
def notebook():
    return Notebook()


@pytest.fixture
def own(tmp_path, open_memory, notebook):
    return open_memory(tmp_path / "own.mem", backends=["rag", notebook])


def test_what_is_added_is_prepared_written_and_recalled(own, notebook):
    record = own.add("The depot opens at six.")
    assert notebook.calls == ["sync", "prepare 1"]
    assert notebook.records == {record.id: record}
    assert "The depot opens at six." in own.recall("xyzzy", k=1).text


def test_a_new_version_is_written(own, notebook):
    record = own.add("The depot opens at six.")
    own.update(record.id, "The depot opens at seven.")
    assert notebook.records[record.id].text == "The depot opens at seven."


def test_what_is_known_already_is_not_written_again(own, notebook):
    own.add("a")
    notebook.records.clear()
    own.add("a")
    assert notebook.records == {}


def test_an_error_while_writing_stores_nothing(own, notebook, monkeypatch):
    def fail(records):
        raise RuntimeError("no room in the notebook")

    monkeypatch.setattr(notebook, "write", fail)
    with pytest.raises(RuntimeError, match="no room"):
        own.add("a")
    assert own.count() == 0


def test_what_is_forgotten_is_deleted_and_scrubbed(own, notebook):
    kept, lost = own.add(["kept", "lost"])
    own.forget(lost.id)
    assert notebook.records == {kept.id: kept}
    assert notebook.calls[-2:] == ["delete", "scrub"]
    assert own.recall("anything").hits[0].id == kept.id


def test_hits_of_another_scope_are_not_shown(own):
    own.add("Ann's secret", scope=ANN)
    assert own.recall("secret", scope=BOB).hits == ()
    assert [hit.text for hit in own.recall("secret", scope=ANN).hits] == ["Ann's secret"]


def test_hits_of_another_scope_are_not_shown_as_of_a_moment_either(own):
    own.add("Ann's secret", scope=ANN)
    now = datetime.now(UTC)
    assert own.recall("secret", scope=BOB, as_of=now).hits == ()
    assert [hit.text for hit in own.recall("secret", scope=ANN, as_of=now).hits] == ["Ann's secret"]


def test_hits_that_a_filter_excludes_are_not_shown(own):
    own.add(["old", "new"], metadata={})
    own.add("newest", metadata={"year": 2026})
    hits = own.recall("anything", where={"year": {"$gte": 2020}}).hits
    assert [hit.text for hit in hits] == ["newest"]


def test_its_statistics_are_those_of_the_memory(own, notebook):
    own.add(["a", "b"])
    assert own.stats().backends == {"rag": {"passages": 2}, "notebook": {"records": 2}}
    assert "notebook: 2 records" in str(own.stats())


def test_it_catches_up_when_the_memory_is_opened(own, tmp_path, open_memory):
    record = own.add("a")
    own.close()
    other = Notebook()
    open_memory(tmp_path / "own.mem", backends=["rag", other])
    assert other.records == {record.id: record}


def test_it_catches_up_with_an_import(own, notebook, tmp_path, open_memory):
    own.add("a")
    own.export(tmp_path / "file")
    other = Notebook()
    open_memory(tmp_path / "other.mem", backends=["rag", other]).import_(tmp_path / "file")
    assert [record.text for record in other.records.values()] == ["a"]


def test_it_is_closed_with_the_memory(own, notebook):
    own.close()
    own.close()
    assert notebook.calls.count("close") == 1


@pytest.mark.parametrize("backends", [["rag", "disk"], [], "rag"])
def test_unknown_names_are_refused(tmp_path, open_memory, backends):
    with pytest.raises(InvalidInputError, match="or backends of your own, got"):
        open_memory(tmp_path / "m", backends=backends)


def test_names_are_taken_once(tmp_path, open_memory):
    with pytest.raises(InvalidInputError, match="need names of their own"):
        open_memory(tmp_path / "m", backends=[Notebook(), Notebook()])
