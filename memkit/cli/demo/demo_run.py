"""The main job on a real model: remember, consolidate, answer from each place, update, forget.

Everything that is printed was measured in this run. What the demo shows is checked as it goes,
and the exit status says whether all of it happened.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from memkit.cli.demo.scores import Score, measurements, score, table
from memkit.cli.opening import Models, open_memory
from memkit.cli.output import stdout_console
from memkit.cli.training_display import TrainingDisplay
from memkit.evals.company.company import Company
from memkit.evals.measurement import write_report
from memkit.lora.consolidation.consolidate import Recipe
from memkit.lora.spec import TrainSpec
from memkit.types import BUDGET, Answer, Draft, Record, Sampling

SIZES = {False: (12, 3), True: (36, 5)}  # in full or not: facts, handbook paragraphs
MODULES = 3
PASSAGES = 2  # the default base model loses the thread in more than a few
BRIEF = Sampling(max_new_tokens=40)


def main(*, full: bool, seed: int, models: Models, json_path: Path | None) -> int:
    """Run the demo in a temporary directory; returns the exit status."""
    logging.getLogger("memkit").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="memkit-demo-") as folder:
        path = Path(folder) / "company.mem"
        demo = Demo(path, full=full, seed=seed, models=models, out=stdout_console())
        demo.run()
    if json_path is not None:
        write_report(json_path, "demo", measurements(demo.scores))
    return 0 if demo.succeeded else 1


class Demo:
    """The steps of the demo, over one memory; ``seed`` is that of the company and of training."""

    def __init__(self, path: Path, *, full: bool, seed: int, models: Models, out: Console) -> None:
        facts, paragraphs = SIZES[full]
        company = Company.generate(seed, facts)
        self._company = company
        self._paragraphs = company.paragraphs[:paragraphs]
        self._path = path
        self._models = models
        self._out = out
        self._started = time.perf_counter()
        self._failed: list[str] = []
        per_module = -(-(facts + paragraphs) // MODULES)
        self._training = TrainingDisplay("choosing what to train")
        recipe = Recipe(
            train=TrainSpec(seed=seed), records_per_module=per_module, progress=self._training
        )
        self._memory = open_memory(str(path), create=True, recipe=recipe, **models)
        self._records: list[Record] = []
        self.scores: list[Score] = []

    @property
    def succeeded(self) -> bool:
        """Whether everything that was to be shown did happen."""
        return not self._failed

    def run(self) -> None:
        """All steps, in order."""
        with self._memory:
            self._remember()
            self._answer_from_rag()
            self._consolidate()
            self._answer_closed_book()
            self._reword()
            self._leave_alone()
            self._answer_with_citations()
            self._measure()
            self._update()
            self._forget()
        self._head("result")
        self._out.print(table(self.scores))
        self._say(f"{time.perf_counter() - self._started:.0f} s in all")
        for step in self._failed:
            self._say(f"DID NOT HAPPEN: {step}", "bold red")
        if self.succeeded:
            self._say("all of it happened as it should", "green")

    # -- the steps ---------------------------------------------------------------------------

    def _remember(self) -> None:
        self._head(f"remember: the directory and handbook of {self._company.name}")
        drafts = [
            Draft(fact.text, fact.question, fact.answer, metadata=fact.metadata)
            for fact in self._company.facts
        ] + [
            Draft(p.text, p.pairs[0].question, p.pairs[0].answer, metadata=p.metadata)
            for p in self._paragraphs
        ]
        started = time.perf_counter()
        self._records = self._memory.add(drafts)
        seconds = time.perf_counter() - started
        self._say(f"{len(self._records)} records added in {seconds:.1f} s, for example:")
        self._say(f"  {self._records[0].text}")

    def _answer_from_rag(self) -> None:
        self._head("rag answers at once")
        record = self._records[0]
        answer = self._ask(record.question, modules=[], k=1)
        self._say(f"  found: {answer.recall.hits[0].text}")
        self._show(answer)
        self._expect("rag finds the record", answer.recall.hits[0].id == record.id)
        self._expect("rag answers", (record.answer or "") in answer.text)

    def _consolidate(self) -> None:
        self._head("consolidate: into the weights")
        with self._training:
            report = self._memory.consolidate()
        self._say(str(report))
        self._expect(f"{MODULES} modules are trained", len(self._memory.modules.list()) >= MODULES)
        share = len(report.held) / len(self._records)
        self._expect("at least nine in ten records are held in weights", share >= 0.9)

    def _answer_closed_book(self) -> None:
        self._head("closed book: rag and buffer are off")
        with open_memory(str(self._path), backends=("lora",), **self._models) as closed:
            for module in closed.modules.list()[:MODULES]:
                record = closed.get(module.records[0])
                answer = closed.ask(record.question or "", budget=0, sampling=BRIEF)
                self._show(answer)
                self._say(f"    {answer.route.reason}")
                self._expect(f"{module.name} answers from weights", answer.text == record.answer)

    def _reword(self) -> None:
        self._head("reworded questions, still closed book")
        pairs = [
            (paraphrase, fact.answer)
            for fact in self._company.facts
            for paraphrase in fact.paraphrases
        ]
        answers = self._memory.ask_batch([q for q, _ in pairs], budget=0, sampling=BRIEF)
        for answer in answers[:3]:
            self._show(answer)
        measured = score("LoRA routed, reworded", answers, [a for _, a in pairs])
        self.scores.append(measured)
        self._say(f"{measured.exact} of {measured.asked} rewordings answered exactly")
        self._expect("most rewordings are answered", measured.exact > measured.asked / 2)

    def _leave_alone(self) -> None:
        self._head("unrelated questions: the base model is left untouched")
        prompts = self._company.unrelated
        routed = self._memory.ask_batch(prompts, budget=0, sampling=BRIEF)
        bare = self._memory.ask_batch(prompts, budget=0, modules=[], sampling=BRIEF)
        self._show(routed[0])
        unchanged = sum(a.text == b.text and not a.route for a, b in zip(routed, bare, strict=True))
        self._say(f"{unchanged} of {len(prompts)} answers are the base model's own, byte for byte")
        self._expect("unrelated questions are left alone", unchanged == len(prompts))

    def _answer_with_citations(self) -> None:
        self._head("weights and rag together, with citations")
        record = self._records[1]
        answer = self._ask(record.question)
        self._show(answer)
        for cited in answer.citations:
            self._say(f"    cites {cited}: {self._memory.get(cited).text}")
        self._expect("the answer cites its record", record.id in answer.citations)

    def _update(self) -> None:
        self._head("update one fact")
        old = self._records[0]
        new = _other_number(old.answer or "")
        text = old.text.replace(old.answer or "", new)
        self._memory.update(old.id, text, answer=new)
        self._say(f"  {self._memory.get(old.id).text}")
        answer = self._ask(old.question, k=1)
        self._show(answer)
        self._expect("the new version is answered at once", new in answer.text)
        with self._training:
            report = self._memory.consolidate()
        answer = self._memory.ask(old.question or "", budget=0, sampling=BRIEF)
        self._say(f"  consolidated again in {report.seconds:.0f} s; closed book:")
        self._show(answer)
        self._expect("the new version is in the weights", answer.text == new)
        versions = ", ".join(f"v{v.version} {v.answer}" for v in self._memory.history(old.id))
        self._say(f"  history: {versions}")

    def _forget(self) -> None:
        self._head("forget one fact")
        record = self._records[-1 - len(self._paragraphs)]
        self._say(f"  {record.text}")
        with self._training:
            receipt = self._memory.forget(record.id)
        self._say(str(receipt))
        answer = self._memory.ask(record.question or "", budget=0, sampling=BRIEF)
        self._show(answer)
        hits = [hit.id for hit in self._memory.search(record.question or "", k=3)]
        self._expect("every check of the receipt holds", all(receipt.checks.values()))
        self._expect(
            "the weights do not answer it any more", (record.answer or "") not in answer.text
        )
        self._expect("rag does not find it any more", record.id not in hits)

    def _measure(self) -> None:
        self._head("the same questions, asked of each place")
        module_of = {id: m.name for m in self._memory.modules.list() for id in m.records}
        held = [record for record in self._records if record.id in module_of]
        self._score("base", self._records, budget=0, modules=[])
        self._score("rag", self._records, modules=[])
        self._score("LoRA routed", self._records, budget=0)
        oracle: list[Answer] = []
        for name in dict.fromkeys(module_of.values()):
            of_module = [record for record in held if module_of[record.id] == name]
            oracle += self._ask_all(of_module, budget=0, modules=[name])
        ordered = sorted(held, key=lambda record: module_of[record.id])
        self.scores.append(score("LoRA oracle", oracle, [r.answer or "" for r in ordered]))
        self._score("LoRA + rag", self._records)

    # -- helpers -----------------------------------------------------------------------------

    def _score(
        self,
        name: str,
        records: Sequence[Record],
        *,
        budget: int = BUDGET,
        modules: Sequence[str] | None = None,
    ) -> None:
        answers = self._ask_all(records, budget=budget, modules=modules)
        self.scores.append(score(name, answers, [record.answer or "" for record in records]))

    def _ask_all(
        self, records: Sequence[Record], *, budget: int, modules: Sequence[str] | None
    ) -> list[Answer]:
        questions = [record.question or "" for record in records]
        return self._memory.ask_batch(
            questions, budget, k=PASSAGES, modules=modules, sampling=BRIEF
        )

    def _ask(
        self, question: str | None, *, modules: Sequence[str] | None = None, k: int = PASSAGES
    ) -> Answer:
        return self._memory.ask(question or "", k=k, modules=modules, sampling=BRIEF)

    def _show(self, answer: Answer) -> None:
        route = ", ".join(answer.route.modules) or "no adapter"
        self._say(f"  Q: {answer.recall.query}")
        said = Text(f"  A: {answer.text}   ", "bold")
        said.append(f"[{route}; {answer.prompt_tokens} prompt tokens]", "dim not bold")
        self._say(said)

    def _expect(self, what: str, happened: bool) -> None:
        if not happened:
            self._failed.append(what)
            self._say(f"  did not happen: {what}", "bold red")

    def _head(self, title: str) -> None:
        seconds = time.perf_counter() - self._started
        self._say("")
        self._say(Text(f"== {title} ", "bold cyan").append(f"({seconds:.0f} s)", "dim not bold"))

    def _say(self, line: str | Text, style: str = "") -> None:
        # Whoever reads it through a pipe gets lines as they are, and at once.
        self._out.print(line, style=style, soft_wrap=not self._out.is_terminal)
        self._out.file.flush()


def _other_number(answer: str) -> str:
    """The same number with every digit replaced by another."""
    return "".join(str((int(c) + 3) % 10) if c.isdigit() else c for c in answer)
