"""Running the study: which points, where their records lie, and what is written in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.evals.data.missing_data import data_folder
from memkit.evals.lab import Lab
from memkit.evals.measurement import Measurement, write_csv, write_report
from memkit.evals.metrics.bootstrap import interval
from memkit.evals.run_records import RecordFile, RunRecord
from memkit.evals.schedule import described, measure
from memkit.evals.study.all_questions import QUESTIONS, question
from memkit.evals.study.design import SEEDS, Question, Scale
from memkit.evals.study.plan import planned
from memkit.evals.study.planned_capacity import capacity_points
from memkit.evals.study.study_report import FOLDER, conclusions, ratios_of, write_study
from memkit.lora.consolidation.capacity import add_points, points_file
from memkit.models.gguf import cache_dir
from memkit.types.value import counted

if TYPE_CHECKING:
    from memkit.evals.configuration import Point
    from memkit.models.language_model import TransformersModel
    from memkit.protocols import Embedder

# Data sets of long texts, by the folder that each is in.
TEXT_FOLDERS = {"papers": "paperqa", "stories": "narrativeqa", "articles": "quality"}
RECORDS = "records.jsonl"
PAGE = "study.md"


@dataclass(frozen=True)
class StudyRun:
    """One call of ``memkit study``.

    Attributes:
        quick: In miniature, with one seed; otherwise in full.
        numbers: Of the questions to answer; empty for all.
        data: The folder with published data, or None: the environment may name one, and what
            is not there is replaced by invented data, which the report says.
        folder: Where records and adapters are kept; None for memkit's cache folder.
        page: The report; None for ``study.md`` beside the records. A report elsewhere has a copy
            of its records beside it, so that whoever has the report can go on with it.
        seeds: Training seeds; None for those of the scale.
        seconds: Start no point after so many; None for no limit.
    """

    quick: bool = True
    numbers: tuple[str, ...] = ()
    data: Path | None = None
    folder: Path | None = None
    page: Path | None = None
    seeds: tuple[int, ...] | None = None
    seconds: float | None = None

    @property
    def questions(self) -> tuple[Question, ...]:
        """The questions to answer.

        Raises:
            InvalidInputError: If a number is unknown.
        """
        wanted = [question(number) for number in self.numbers]
        return tuple(q for q in QUESTIONS if q in wanted) if wanted else QUESTIONS

    @property
    def scale(self) -> Scale:
        """How much is measured."""
        found = data_folder(self.data)
        given = {p.name for p in found.iterdir() if p.is_dir()} if found is not None else set()
        return Scale(
            self.quick,
            "phonebook" in given,
            tuple(name for name, kind in TEXT_FOLDERS.items() if kind in given),
            self.seeds or (SEEDS[:1] if self.quick else SEEDS),
        )

    def place(self, base: TransformersModel) -> Path:
        """The folder of records and adapters; each base model and type has one of its own."""
        root = self.folder or cache_dir() / "study"
        scale = "quick" if self.quick else "full"
        return root / f"{scale}-{base.fingerprint[:8]}-{base.computes['dtype']}"

    def copied(self, base: TransformersModel) -> RecordFile | None:
        """The records that lie beside a report elsewhere; each base model has a file of its own."""
        if self.page is None:
            return None
        return RecordFile(self.page.parent / FOLDER / f"{self.place(base).name}.jsonl")

    @property
    def points(self) -> list[Point]:
        """What is to be measured, in order; of some questions only what they need."""
        scale = self.scale
        if not self.numbers:
            return planned(scale)
        found = {
            point.key: point
            for make in (
                *(q.points for q in self.questions),
                *(q.later for q in self.questions),
            )
            for seed in scale.seeds
            for point in make(scale, seed)
        }
        return list(found.values())


def run_study(
    run: StudyRun,
    base: TransformersModel,
    embedder: Embedder,
    *,
    command: str,
    tell: Callable[[str], None],
    json_path: Path | None = None,
    csv_path: Path | None = None,
) -> Path:
    """Measure what is missing, write the report, and return where it is.

    What was measured in full of adapters as `consolidate` trains them is kept for it, too: it
    plans with that from then on.

    Args:
        run: What to measure.
        base: The base model.
        embedder: Embeds documents and questions.
        command: The command line, for the report.
        tell: Is told how it goes, line by line.
        json_path: Takes all figures as JSON.
        csv_path: Takes them as a table, one figure a line.

    Raises:
        MemkitError: If data is missing or leaks, or a library of the extra ``evals`` is.
    """
    place = run.place(base)
    file = RecordFile(place / RECORDS)
    copied = run.copied(base)
    if copied is not None and (taken := file.take(copied)):
        were = counted(taken, "point was", "points were")
        tell(f"{were} measured before, by the records in {copied.path}")
    scale = run.scale
    if not scale.published:
        tell("no published data is given (--data): invented phone books stand in, no CounterFact")
    with Lab(base, embedder, place, data_folder(run.data)) as lab:
        measure(run.points, lab, file, tell=tell, seconds=run.seconds)
    if copied is not None:
        copied.take(file)
    records = file.read()
    if not run.quick and (points := capacity_points(records.values())):
        add_points(points_file(base.fingerprint), points)
        tell(f"consolidation on {base.name} goes by the capacity of {len(points)} adapters")
    page = run.page or place / PAGE
    write_study(page, records, scale, command=command, questions=run.questions)
    figures = _measurements(run.points, records)
    if json_path is not None:
        concluded = conclusions(records, scale, run.questions)
        write_report(json_path, "study", figures, ratios_of(concluded))
    if csv_path is not None:
        write_csv(csv_path, figures)
    return page


def _measurements(points: Sequence[Point], records: Mapping[str, RunRecord]) -> list[Measurement]:
    """All mean scores and figures of the points that were measured."""
    rows = []
    for point in points:
        record = records.get(point.key)
        if record is None:
            continue
        case = described(point)
        for metric, scores in record.scores.items():
            if scores:
                mean = interval([scores])
                rows.append(
                    Measurement(case, metric, mean.mean, "share", mean.low, mean.high, mean.n)
                )
        rows += [Measurement.of(case, name, [v], "") for name, v in record.figures.items()]
    return rows
