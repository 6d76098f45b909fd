"""Records that a module missed are tried again: differently, a bounded number of times."""

from dataclasses import replace

import pytest
from synthesizers import FirstWordings, Script

from memkit.lora.consolidation import consolidate
from memkit.lora.consolidation.capacity import Law
from memkit.lora.spec import TrainSpec
from memkit.lora.training.trainer import Trainer
from memkit.types import Draft, Example

QUICK = TrainSpec(epochs=2, batch_size=8, guards=0)


@pytest.fixture
def bench(tmp_path, open_memory, recipe):
    """Opens a memory whose recipe differs from the usual one as given."""

    def open_bench(**changes):
        changed = replace(recipe, **({"synthesizer": FirstWordings(), "max_rank": 32} | changes))
        return open_memory(tmp_path / "bench", recipe=changed)

    return open_bench


def trainings(monkeypatch, *unseen, times=1):
    """Ranks as they are trained; the first trainings never see some of the records."""
    fit = Trainer.fit
    ranks = []

    def forgetful(self, examples, *rest):
        ranks.append(self.lora.rank)
        if len(ranks) <= times:
            examples = [one for one in examples if one.record_id not in unseen]
        return fit(self, examples, *rest)

    monkeypatch.setattr(Trainer, "fit", forgetful)
    return ranks


@pytest.mark.slow
def test_missed_records_get_a_module_of_their_own_at_the_next_rank(bench, badges, monkeypatch):
    ranks = trainings(monkeypatch, "Tara")
    memory = bench()
    memory.add(badges[:4])

    report = memory.consolidate()

    assert ranks == [16, 32]
    assert [(one.name, one.attempt, one.held) for one in report.modules] == [
        ("m0001", 1, ("Nora", "Emil", "Owen")),
        ("m0002", 2, ("Tara",)),
    ]
    assert (report.modules[0].missed, report.missed) == (("Tara",), ())
    assert "m0002 v1 (try 2)" in str(report)
    assert "4 records held in weights, 0 stay with the index" in str(report)
    manifest = memory.modules.list()[1].manifest
    assert (manifest["attempt"], manifest["lora"]["rank"]) == (2, 32)
    assert memory.ask("What is the badge number of Tara?", budget=0).text == "9876"


@pytest.mark.slow
def test_a_part_that_is_mostly_missed_is_split(bench, badges, monkeypatch):
    ranks = trainings(monkeypatch, "Nora", "Emil", "Tara")
    memory = bench()
    memory.add(badges[:4])

    report = memory.consolidate()

    assert ranks == [16, 32, 32]
    assert [set(one.held + one.missed) for one in report.modules[1:]] == [
        {"Nora", "Emil"},
        {"Tara"},
    ] or [set(one.held + one.missed) for one in report.modules[1:]] == [
        {"Nora"},
        {"Emil", "Tara"},
    ]
    assert report.missed == ()


@pytest.mark.slow
def test_attempts_are_bounded_and_only_what_helps_is_kept(bench, recipe, badges, monkeypatch):
    ranks = trainings(monkeypatch)

    class Contradicts(FirstWordings):
        """Two answers to one question: nobody can learn both."""

        def examples(self, records):
            other = Example("What is the badge number of Tara?", "0000", "Tara")
            return super().examples(records) + [other] * any(r.id == "Tara" for r in records)

    # Nothing stops the training early; what can be learned is learned in half of these epochs.
    train = replace(recipe.train, epochs=48)
    memory = bench(max_rank=64, synthesizer=Contradicts(), train=train)
    memory.add(badges[:4])

    report = memory.consolidate()

    assert ranks == [16, 32, 64]
    assert report.missed == ("Tara",)
    assert [module.records for module in memory.modules.list()] == [("Nora", "Emil", "Owen")]
    assert [one.version for one in report.modules] == [1, 0, 0]


@pytest.mark.slow
def test_no_attempt_is_made_if_none_is_allowed(bench, badges, monkeypatch):
    ranks = trainings(monkeypatch, "Tara")
    memory = bench(retries=0)
    memory.add(badges[:4])

    assert memory.consolidate().missed == ("Tara",)
    assert ranks == [16]


def test_a_single_record_is_not_trained_twice_the_same_way(bench, badges, monkeypatch):
    ranks = trainings(monkeypatch)
    memory = bench(train=QUICK, max_rank=16)
    memory.add(badges[:1])

    assert memory.consolidate().missed == ("Nora",)
    assert ranks == [16]


@pytest.mark.slow
def test_a_question_that_is_routed_elsewhere_is_no_reason_to_train_again(
    bench, badges, monkeypatch
):
    """Better weights do not help a record whose question is nearer to another record."""
    ranks = trainings(monkeypatch)
    safe = "Which code has the safe?"
    memory = bench(synthesizer=Script(Nora=[(safe, "77")]))
    memory.add([badges[0], Draft("The safe.", safe, "78", id="Safe")])

    report = memory.consolidate()

    assert (report.held, set(report.missed), ranks) == ((), {"Nora", "Safe"}, [16])


@pytest.mark.slow
def test_the_same_run_gives_the_same_modules(bench, badges, monkeypatch, tmp_path, open_memory):
    digests = []
    for name in ("one", "other"):
        with monkeypatch.context() as patch:
            trainings(patch, "Tara")
            memory = open_memory(tmp_path / name, recipe=bench()._engine.consolidator.recipe)
            memory.add(badges[:4])
            memory.consolidate()
            files = memory._engine.ledger.modules
            digests.append([files.file(m.name).digest for m in memory.modules.list()])

    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 2


@pytest.mark.slow
def test_long_answers_are_spread_over_more_modules(bench, monkeypatch):
    monkeypatch.setattr(consolidate, "law_for", lambda _: Law(scale=8.0, exponent=1.0, most=500))
    memory = bench(train=QUICK, retries=0, records_per_module=16)
    memory.add(
        [
            Draft(name, f"What did {name} say?", " ".join([word] * many), id=name)
            for name, word, many in (("Nora", "very", 30), ("Emil", "so", 2), ("Tara", "no", 2))
        ]
    )

    report = memory.consolidate()

    # 64 tokens have room at rank 16, half of what the law says; Nora's answer alone has more.
    assert [set(one.held + one.missed) for one in report.modules] == [{"Nora"}, {"Emil", "Tara"}]
    assert len(report.modules) == 2
