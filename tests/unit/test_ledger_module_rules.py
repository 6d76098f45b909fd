"""Whatever is done to modules, in whatever order: the ledger keeps its rules."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.errors import ModuleNotFoundInMemoryError
from memkit.ledger import Ledger
from memkit.types import Draft

pytestmark = pytest.mark.engines

RECORDS = [f"r{n}" for n in range(5)]
records = st.sets(st.sampled_from(RECORDS), min_size=1).map(sorted)
names = st.sampled_from(["a", "b"])
steps = st.one_of(
    st.tuples(st.just("commit"), names, records, records, st.integers(0, 2)),
    st.tuples(st.just("activate"), names, st.integers(1, 6)),
    st.tuples(st.just("update"), st.sampled_from(RECORDS), st.integers(0, 1)),
    st.tuples(st.just("lose"), names, st.integers(1, 6)),
    st.tuples(st.just("drop"), names, st.none() | st.integers(1, 6)),
)


class Played:
    """A ledger, and what was ever committed to it."""

    def __init__(self, directory):
        self.ledger = Ledger.open(directory)
        self.ledger.records.add([Draft(id, id=id) for id in RECORDS])
        self.trained = {}  # (module, version) -> record id -> text
        self.held = {}  # (module, version) -> record ids
        self.files = 0

    def commit(self, name, members, held, digest):
        self.files += 1
        held = [id for id in held if id in members]
        module = self.ledger.modules.commit(
            name, {}, {}, file=f"adapters/{self.files}", digest=str(digest), size=1,
            members=self.ledger.records.get(members), held=dict.fromkeys(held, 1.0),
        )  # fmt: skip
        self.trained[name, module.version] = {id: self.text(id) for id in members}
        self.held[name, module.version] = held

    def activate(self, name, version):
        assert self.ledger.modules.activate(name, version).version == version

    def update(self, id, text):
        fields = {"question": None, "answer": None, "metadata": {}}
        self.ledger.records.update(id, text=f"{id} {text}", **fields)

    def lose(self, name, version):
        self.ledger.modules.discard_weights(self.ledger.modules.file(name, version).path)

    def drop(self, name, version):
        self.ledger.modules.drop(name, version)

    def text(self, id):
        return self.ledger.records.get([id])[0].text

    def check(self):
        modules = self.ledger.modules
        active = {module.name: module for module in modules.active()}
        lost = {module.name: module for module in modules.without_weights()}
        placements, homes = modules.placements(RECORDS), modules.former_placements(RECORDS)
        for id, name in placements.items():
            version = name, active[name].version
            assert id in self.held[version]
            assert self.trained[version][id] == self.text(id)
        for id, name in homes.items():
            version = name, (active | lost)[name].version
            assert id in self.held[version]
            assert name in lost or self.trained[version][id] != self.text(id)
        for name, module in active.items():
            assert module.records == tuple(id for id in RECORDS if placements.get(id) == name)
            assert module.version in module.versions
            assert len(module.versions) <= 3
        for module in lost.values():
            assert module.records == ()
            assert module.version not in module.versions
        waiting = modules.unplaced(within=None, where=None, include_turns=True)
        assert [record.id for record in waiting] == [id for id in RECORDS if id not in placements]
        assert not placements.keys() & homes.keys()
        self.check_versions([*active.values(), *lost.values()])

    def check_versions(self, modules):
        kept = {(m.name, v) for m in modules for v in {*m.versions, m.version}}
        for id in RECORDS:
            holding = self.ledger.modules.holding([id])
            assert {(m.name, m.version) for m in holding} == {
                version for version in kept if id in self.trained[version]
            }
        paths = [file.path for file in self.ledger.modules.files()]
        assert len(paths) == len(set(paths)) == sum(len(m.versions) for m in modules)
        # Every other file that there ever was is waiting for its destruction.
        pending = self.ledger.erasures.pending()
        assert sorted(paths + pending) == sorted(f"adapters/{n + 1}" for n in range(self.files))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=14))
def test_the_rules_hold_after_every_step(steps):
    with tempfile.TemporaryDirectory() as directory:
        played = Played(Path(directory))
        for step, *arguments in steps:
            with suppress(ModuleNotFoundInMemoryError):  # there is none of this name or number
                getattr(played, step)(*arguments)
            played.check()
        played.ledger.close()
