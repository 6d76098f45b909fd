"""From records to committed modules: trained, verified through the router, or not at all."""

import errno
import hashlib
import json
import os
import re
from dataclasses import asdict, replace

import pytest
from synthesizers import FirstWordings, Script

from memkit.answering.prompt import PromptFormat
from memkit.errors import DiskFullError, InvalidInputError, StorageError, TrainingError
from memkit.ledger import Ledger, ModuleFile
from memkit.lora.consolidation.consolidate import Consolidator
from memkit.lora.lora_backend import LoraBackend
from memkit.lora.recipe import Recipe
from memkit.lora.spec import TrainSpec
from memkit.lora.store.adapter_rows import ROW_DTYPES
from memkit.lora.training.trainer import Trainer
from memkit.rag.index import FactIndex
from memkit.routing.nearest import NearestRouter
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Example, Query, Sampling
from memkit.types.progress import watched_by
from memkit.version import __version__

QUICK = TrainSpec(epochs=2, batch_size=8, guards=0)
DIVERGES = TrainSpec(epochs=9, learning_rate=1e30, guards=0)


class Bench:
    """A ledger with an index, a router and a LoRA backend: a memory without its verbs."""

    def __init__(self, folder, base, recipe):
        self.ledger = Ledger.open(folder)
        self.index = FactIndex(self.ledger, HashingEmbedder())
        self.router = NearestRouter(self.index, self.ledger)
        self.backend = LoraBackend(self.ledger, self.router, lambda: base, PromptFormat())
        self.consolidator = Consolidator(replace(recipe, synthesizer=FirstWordings()))
        self.folder = folder

    def add(self, drafts):
        records = self.ledger.records.add(drafts)
        self.index.write(records)
        return records

    def run(self, records, *, retry_missed=False, **changes):
        self.consolidator.recipe = replace(self.consolidator.recipe, **changes)
        return self.consolidator.run(self.backend, records, retry_missed=retry_missed)

    def ask(self, question, scope=None):
        """Through router, bank and base model, as a user's question is answered."""
        base = self.backend.base
        route = self.router.route([Query(question, scope=scope or {})])[0]
        adapters = self.backend.adapters([route])
        return base.generate([base.prompt(question)], Sampling(12), adapters=adapters)[0].text

    def modules(self):
        return self.ledger.modules.active()

    def rows(self):
        """What the adapter files hold; `adapters_in` is set by the fixture."""
        return self.adapters_in(self.folder)

    def close(self):
        self.backend.close()
        self.ledger.close()


@pytest.fixture
def bench(tmp_path, tiny, recipe, adapters_in):
    bench = Bench(tmp_path / "memory", tiny, recipe)
    bench.adapters_in = adapters_in
    yield bench
    bench.close()


@pytest.fixture
def four(bench, badges):
    """Four records that fit into one module."""
    return bench.add(badges[:4])


# -- what a run leaves behind ----------------------------------------------------------------


@pytest.mark.slow
def test_records_become_a_module_that_answers(bench, four, tmp_path, tiny, recipe):
    report = bench.run(four)

    assert report.held == ("Nora", "Emil", "Tara", "Owen")
    assert report.missed == ()
    (module,) = bench.modules()
    assert (module.name, module.version, module.records) == ("m0001", 1, report.held)
    assert report.modules[0].recall == 1.0
    bench.close()

    again = Bench(tmp_path / "memory", tiny, recipe)  # with the weights read from the file
    for record in four:
        assert again.ask(record.question) == record.answer
    again.close()


@pytest.mark.slow
def test_the_weights_are_a_row_of_a_file_and_the_ledger_knows_it(bench, four):
    bench.run(four)

    ((path, data),) = bench.rows().items()
    assert re.fullmatch(r"adapters/[0-9a-f]{16}-r16-float16\.bank#0", path)
    assert bench.ledger.modules.file("m0001") == ModuleFile(
        path, hashlib.sha256(data).hexdigest(), len(data)
    )


@pytest.mark.parametrize("row_dtype", ["bfloat16", "float32"])
def test_rows_may_have_another_precision(bench, four, row_dtype):
    bench.backend._row_dtype = ROW_DTYPES[row_dtype]

    assert len(bench.run(four).held) == 4
    ((path, data),) = bench.rows().items()
    assert path.endswith(f"-r16-{row_dtype}.bank#0")
    weights = sum(a + b for a, b in bench.backend.layers.shapes.values())
    assert len(data) == 16 * weights * {"bfloat16": 2, "float32": 4}[row_dtype]


def test_an_unknown_precision_is_refused():
    with pytest.raises(InvalidInputError, match=r"`row_dtype` must be one of .*, got 'int4'"):
        Recipe(row_dtype="int4")


def test_the_manifest_says_how_the_module_was_made(bench, four, tiny, recipe):
    (report,) = bench.run(four).modules

    manifest = bench.ledger.modules.get("m0001").manifest
    contents = [[record.id, record.content_hash] for record in four]
    assert manifest == {
        "memkit": __version__,
        "base_model": tiny.name,
        "fingerprint": tiny.fingerprint,
        "verified": {"device": "cpu", "dtype": "float32", "attn_implementation": "sdpa"},
        "data": hashlib.sha256(json.dumps(contents).encode()).hexdigest(),
        "lora": json.loads(json.dumps(recipe.lora.as_dict())),
        "synthesizer": "FirstWordings-1",
        "prompt_format": {
            "key": PromptFormat().key,
            "opening": "You are a helpful assistant.",
            "evidence": " Here is what you know:\n\n{evidence}\n\nAnswer with the facts above.",
            "facts": "Facts:",
            "turns": "Conversation so far:",
        },
        "train": recipe.train.as_dict(),
        "attempt": 1,
        "steps": report.steps,
        "loss": manifest["loss"],
        "recall": report.recall,
        "paraphrase_recall": report.paraphrase_recall,
        "records": manifest["records"],
        "locality": asdict(report.locality),
    }
    assert list(manifest["records"]) == [record.id for record in four]
    assert {one["recall"] for one in manifest["records"].values()} == {1.0}
    shares = [one["paraphrase_recall"] for one in manifest["records"].values()]
    assert report.paraphrase_recall == sum(shares) / len(shares)
    assert 0.0 < manifest["loss"] < 1.0


@pytest.mark.slow
def test_the_same_records_and_seed_give_the_same_bytes(tmp_path, tiny, recipe, badges):
    digests = []
    for name in ("one", "other"):
        bench = Bench(tmp_path / name, tiny, recipe)
        bench.run(bench.add(badges[:4]))
        digests.append(bench.ledger.modules.file("m0001").digest)
        bench.close()

    assert digests[0] == digests[1]


@pytest.mark.slow
def test_scopes_have_modules_of_their_own(bench, badges):
    mine = [replace(draft, scope={"user": "u1"}) for draft in badges[:2]]
    bench.run(bench.add([*mine, *badges[2:4]]))

    assert {module.name: (dict(module.scope), module.records) for module in bench.modules()} == {
        "m0001": ({"user": "u1"}, ("Nora", "Emil")),
        "m0002": ({}, ("Tara", "Owen")),
    }
    assert bench.ask(badges[0].question, {"user": "u1"}) == badges[0].answer
    assert bench.ask(badges[0].question) != badges[0].answer


def test_what_is_held_is_not_trained_again(bench, four):
    bench.run(four)

    report = bench.run(four)

    assert report.modules == ()
    assert str(report) == "nothing to consolidate"
    assert len(bench.rows()) == 1


@pytest.mark.slow
def test_a_second_memory_may_train_the_same_base_model(tmp_path, tiny, recipe, badges):
    """The hooks of a closed backend are gone: nothing may still train through them."""
    consolidator = Consolidator(replace(recipe, synthesizer=FirstWordings()))
    for name in ("one", "two"):
        bench = Bench(tmp_path / name, tiny, recipe)
        bench.consolidator = consolidator
        assert len(bench.run(bench.add(badges[:2])).held) == 2
        bench.close()


def test_whoever_watches_is_told_of_the_progress(bench, four):
    heard = []
    with watched_by(heard.append):
        bench.run(four, train=QUICK, records_per_module=2, retries=0)

    epochs = [progress.epochs for progress in heard]
    assert epochs == sorted(epochs)
    assert {(progress.modules, progress.total) for progress in heard} == {(2, 2 * QUICK.visits())}
    assert [progress.module for progress in heard] == sorted(progress.module for progress in heard)
    assert (heard[0].module, heard[0].epochs, heard[0].mastered) == (1, 0, 0.0)
    assert (heard[-1].module, heard[-1].epochs) == (2, 2 * QUICK.visits())


def test_whoever_has_watched_is_told_no_more(bench, four):
    heard = []
    with watched_by(heard.append):
        pass
    bench.run(four, train=QUICK)

    assert heard == []


@pytest.mark.parametrize("show", [True, False])
def test_progress_is_shown_if_it_is_asked_for(bench, four, capfd, show):
    bench.run(four, train=QUICK, progress=show)

    shown = capfd.readouterr()
    assert ("module 1/1" in shown.err) is show
    assert shown.out == ""


# -- what counts as held ---------------------------------------------------------------------


def test_records_that_are_not_recalled_are_not_held(bench, four):
    report = bench.run(four, train=QUICK)

    assert report.held == ()
    assert report.missed == ("Nora", "Emil", "Tara", "Owen")
    assert "none" in str(report)
    assert bench.modules() == []
    assert bench.rows() == {}


@pytest.mark.slow
def test_the_bar_for_held_out_wordings_decides(bench, four):
    class HoldsOut(Script):
        def examples(self, records):
            wrong = [Example(r.question, "another answer", r.id, held_out=True) for r in records]
            return super().examples(records) + wrong

    synthesizer = HoldsOut(**{record.id: [(record.question, record.answer)] for record in four})

    assert bench.run(four, synthesizer=synthesizer, reworded_bar=0.1).held == ()
    assert len(bench.run(four, synthesizer=synthesizer, reworded_bar=0.0).held) == 4


def test_a_record_whose_questions_lead_elsewhere_is_not_held(bench, badges):
    """It is learned to the letter, but nobody who asks is led to its module."""
    nora, safe = bench.add(
        [badges[0], Draft("The safe is blue.", "What is the colour of the safe?", "blue", id="s")]
    )
    taught = Script(Nora=[(safe.question, nora.answer)])

    report = bench.run([nora], synthesizer=taught)

    assert report.held == ()
    assert report.modules[0].steps > 0
    route = bench.router.route([Query(safe.question)])[0]
    assert route.reason == "the nearest fact is not held in weights"
    asked = Script(Nora=[(nora.question, nora.answer)])
    assert bench.run([nora], retry_missed=True, synthesizer=asked).held == ("Nora",)


@pytest.mark.slow
def test_all_facts_of_a_record_have_to_be_recalled(bench, badges):
    (nora,) = bench.add(badges[:1])
    contradiction = Script(Nora=[(nora.question, "4471"), (nora.question, "9999")])

    report = bench.run([nora], synthesizer=contradiction)

    assert report.held == ()
    assert report.modules[0].recall == 0.5


def test_records_that_cannot_be_learned_stay_with_rag(bench, four):
    others = bench.add(
        [
            Draft("!!! ???", id="nothing to ask"),
            Draft("Long.", "What is long?", "very " * 300, id="too long an answer"),
            Draft("Long.", "What is " * 300 + "long?", "this", id="too long a question"),
        ]
    )

    report = bench.run([*four, *others], records_per_module=7)

    assert report.held == ("Nora", "Emil", "Tara", "Owen")
    assert report.missed == ("nothing to ask", "too long an answer", "too long a question")
    assert bench.ledger.modules.members("m0001") == list(report.held)


def test_a_memory_of_nothing_that_can_be_learned(bench):
    report = bench.run(bench.add([Draft("!!!", id="a"), Draft("???", id="b")]))

    assert (report.held, report.missed) == ((), ("a", "b"))
    assert bench.modules() == []
    assert bench.ledger.modules.next_name() == "m0001"  # no name was spent


# -- runs that fail --------------------------------------------------------------------------


def test_a_diverging_run_leaves_the_memory_as_it_was(bench, four):
    with pytest.raises(TrainingError, match=r"the loss went from .* to nan"):
        bench.run(four, train=DIVERGES)

    assert bench.modules() == []
    assert bench.rows() == {}


def test_the_next_run_is_not_held_up_by_a_failed_one(bench, four):
    before = bench.consolidator
    bench.consolidator = Consolidator(replace(before.recipe, train=DIVERGES))
    with pytest.raises(TrainingError, match=r"the loss went from .* to nan"):
        bench.run(four)
    bench.consolidator = before

    assert len(bench.run(four).held) == 4


def test_modules_committed_before_an_error_stay(bench, badges, monkeypatch):
    records = bench.add(badges[:4])
    fit = Trainer.fit
    calls = []

    def second_fails(self, examples, progress=None):
        calls.append(examples)
        if len(calls) == 2:
            raise TrainingError("on purpose")
        return fit(self, examples, progress)

    monkeypatch.setattr(Trainer, "fit", second_fails)
    with pytest.raises(TrainingError, match="on purpose"):
        bench.run(records, records_per_module=2)

    assert [module.records for module in bench.modules()] == [("Nora", "Emil")]
    assert len(bench.rows()) == 1


def during_training(monkeypatch, act):
    """Do something once the adapter is trained and before it is committed."""
    fit = Trainer.fit

    def fit_then_act(self, examples, progress=None):
        trained = fit(self, examples, progress)
        act()
        return trained

    monkeypatch.setattr(Trainer, "fit", fit_then_act)


def test_a_module_whose_record_is_forgotten_meanwhile_is_discarded(bench, four, monkeypatch):
    during_training(monkeypatch, lambda: bench.ledger.records.delete(["Tara"]))

    report = bench.run(four)

    assert report.modules == ()
    assert bench.modules() == []
    assert bench.rows() == {}


def test_a_record_that_changes_meanwhile_is_not_answered_from_its_old_version(
    bench, four, monkeypatch
):
    def change():
        bench.ledger.records.update(
            "Tara", text="Tara has none.", question=None, answer=None, metadata={}
        )

    during_training(monkeypatch, change)
    bench.run(four)

    assert bench.ledger.modules.placements(["Nora", "Tara"]) == {"Nora": "m0001"}


@pytest.mark.parametrize("error", [StorageError("on purpose"), DiskFullError("on purpose")])
def test_a_commit_that_fails_leaves_no_file(bench, four, monkeypatch, error):
    def fail(*args, **kwargs):
        assert len(bench.rows()) == 1
        raise error

    monkeypatch.setattr(bench.ledger.modules, "commit", fail)
    with pytest.raises(type(error), match="on purpose"):
        bench.run(four)

    assert bench.rows() == {}


def test_a_full_disk_leaves_no_file(bench, four, monkeypatch):
    pwrite = os.pwrite

    def full(handle, data, offset):
        if any(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(handle, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DiskFullError, match="no room"):
        bench.run(four)

    assert bench.modules() == []
    assert bench.rows() == {}


def test_leftovers_of_a_killed_run_are_removed(bench, four):
    (bench.folder / "adapters").mkdir()
    for name in ("half.bank", "other-0001.bank"):
        (bench.folder / "adapters" / name).write_bytes(b"half")

    bench.run(four)

    (path,) = bench.rows()
    assert bench.ledger.modules.file("m0001").path == path
    assert len(list((bench.folder / "adapters").iterdir())) == 1


# -- where "none" begins ---------------------------------------------------------------------


def test_it_is_measured_before_training(bench, four):
    assert bench.router.calibration() is None

    bench.run(four)

    assert bench.router.calibration().passages == 8  # text and question of each


def test_a_synthesizer_need_not_hold_anything_out(bench, four):
    taught = Script(**{record.id: [(record.question, record.answer)] for record in four})

    assert len(bench.run(four, synthesizer=taught).held) == 4
