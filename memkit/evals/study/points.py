"""What is measured for each question, for one seed, in the order in which it is worth measuring."""

from __future__ import annotations

from itertools import product

from memkit.evals.configuration import (
    CapacityRun,
    Configuration,
    EditRun,
    Learning,
    LifeRun,
    Point,
    Way,
)
from memkit.evals.study.design import Scale, small, tiny

WAYS: tuple[Way, ...] = (
    "rows",
    "mix",
    "ties",
    "linear",
    "mean_delta",
    "cat",
    "cat_root",
    "dare_linear",
    "dare_ties",
)
MOST_RIGHT = 5  # modules that question 11 puts together
# Forms of supervision: the name in the report, the forms and the writer.
SUPERVISION: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("raw", ("raw",), "offline"),
    ("questions", ("qa",), "scripted"),
    ("summary", ("summary",), "scripted"),
    ("rewrite", ("rewrite",), "scripted"),
    ("raw + questions", ("raw", "qa"), "scripted"),
    ("all", ("raw", "qa", "summary", "rewrite"), "scripted"),
    ("questions, offline", ("qa",), "offline"),
)


# -- 1 to 3: how much a rank holds


FIRST_RANKS = (1, 4, 16)


def edit_ranks(scale: Scale) -> tuple[int, ...]:
    """Ranks of question 1."""
    return (1, 8) if scale.quick else (1, 2, 4, 8, 16)


def edits(scale: Scale, seed: int) -> list[Point]:
    """Edited statements by rank, and the base model."""
    if not scale.published:
        return []
    most = 24 if scale.quick else 1000
    points: list[Point] = [EditRun("1K", None, most)]
    ranks = edit_ranks(scale) if scale.quick else FIRST_RANKS
    return points + [EditRun("1K", tiny(rank), most, seed) for rank in ranks]


def more_edits(scale: Scale, seed: int) -> list[Point]:
    """The other ranks, then the larger subsets."""
    if scale.quick or not scale.published:
        return []
    others = [rank for rank in edit_ranks(scale) if rank not in FIRST_RANKS]
    more: list[Point] = [EditRun("1K", tiny(rank), 1000, seed) for rank in others]
    return more + [
        EditRun(size, tiny(rank), 1000, seed) for size in ("2K", "4K") for rank in (1, 4, 16)
    ]


def loads(scale: Scale) -> tuple[int, ...]:
    """Numbers of facts of question 2."""
    return (8, 24) if scale.quick else (12, 24, 48, 97, 193, 387)


def fact_ranks(scale: Scale) -> tuple[int, ...]:
    """Ranks of question 2."""
    return (1, 4) if scale.quick else (1, 2, 4, 8, 16)


def load_point(scale: Scale, rank: int, facts: int, seed: int, epochs: int = 24) -> Configuration:
    """A phone book in one adapter."""
    return Configuration(scale.phone_book, facts, small(rank, epochs), seed=seed)


def tiny_point(scale: Scale, facts: int, seed: int) -> Configuration:
    """A phone book in an adapter of as few numbers as there can be."""
    return Configuration(scale.phone_book, facts, tiny(1), seed=seed)


FIRST_LOADS = ((1, 24), (1, 48), (1, 97), (2, 97), (4, 97))
TINY_LOADS = (12, 24, 48)


def facts(scale: Scale, seed: int) -> list[Point]:
    """A phone book of growing size in one adapter, by rank."""
    grid = list(product(fact_ranks(scale), loads(scale))) if scale.quick else list(FIRST_LOADS)
    points: list[Point] = [load_point(scale, rank, n, seed) for rank, n in grid]
    tiny_loads = loads(scale) if scale.quick else TINY_LOADS
    return [*(tiny_point(scale, n, seed) for n in tiny_loads), *points]


def more_facts(scale: Scale, seed: int) -> list[Point]:
    """The rest of the grid, and full adapters with twice the visits."""
    if scale.quick:
        return []
    sizes = loads(scale)[1:]
    grid = sorted(product(fact_ranks(scale), sizes), key=lambda pair: (pair[1], pair[0]))
    rest = [load_point(scale, r, n, seed) for r, n in grid if (r, n) not in FIRST_LOADS]
    return [*(load_point(scale, 1, n, seed, epochs=48) for n in (48, 97)), *rest]


def planned_loads(scale: Scale, seed: int) -> list[Point]:
    """Adapters as `consolidate` trains them: two that are given no more than it would, one more."""
    grid = ((1, 8), (1, 16)) if scale.quick else ((1, 12), (1, 48), (8, 48))
    return [CapacityRun(rank, facts, seed) for rank, facts in grid]


def more_planned_loads(scale: Scale, seed: int) -> list[Point]:
    """As much as `consolidate` gives to the rank that it uses."""
    return [] if scale.quick else [CapacityRun(8, 96, seed)]


# -- 4 and 5: what to train on


def supervision(scale: Scale, seed: int) -> list[Point]:
    """One adapter on reports, by the form of what it is trained on."""
    documents, asked = (4, 16) if scale.quick else (8, 32)
    base: list[Point] = [Configuration("invented reports", documents, asked=asked)]
    return base + [
        Configuration(
            "invented reports",
            documents,
            small(4, forms=forms, writer=writer),
            asked=asked,
            seed=seed,
        )
        for _, forms, writer in SUPERVISION
    ]


# -- 8 to 11: many modules


def shared_out(scale: Scale) -> tuple[int, int]:
    """Facts and modules of questions 8 to 11."""
    return (25, 5) if scale.quick else (48, 6)


def one_large(scale: Scale, seed: int) -> Configuration:
    """One adapter with as many numbers as all the small ones."""
    size, modules = shared_out(scale)
    return Configuration(scale.phone_book, size, small(modules), seed=seed)


def several_small(scale: Scale, seed: int, **how: object) -> Configuration:
    """Modules of rank 1 that share the same facts."""
    size, modules = shared_out(scale)
    return Configuration(scale.phone_book, size, small(1), modules=modules, seed=seed, **how)  # type: ignore[arg-type]


def everything_in_prompt(scale: Scale) -> Configuration:
    """The same facts in the prompt, with no adapter."""
    size, _ = shared_out(scale)
    return Configuration(scale.phone_book, size, context="icl")


def one_or_several(scale: Scale, seed: int) -> list[Point]:
    """One large adapter, several small ones with an oracle, and the prompt."""
    return [one_large(scale, seed), several_small(scale, seed), everything_in_prompt(scale)]


def routed_book(scale: Scale, seed: int) -> list[Point]:
    """The small modules, by how they are chosen."""
    return [
        several_small(scale, seed, routing=routing) for routing in ("oracle", "nearest", "centroid")
    ]


def reports_size(scale: Scale) -> tuple[int, int]:
    """Reports and questions of questions 9 and 12 to 15."""
    return (4, 16) if scale.quick else (8, 32)


def reports_single(scale: Scale, seed: int, **how: object) -> Configuration:
    """All reports in one adapter."""
    size, asked = reports_size(scale)
    learning = small(8, writer="scripted")
    return Configuration("invented reports", size, learning, asked=asked, seed=seed, **how)  # type: ignore[arg-type]


def reports_several(scale: Scale, seed: int, **how: object) -> Configuration:
    """The reports in four modules, with as many numbers together as the single one."""
    size, asked = reports_size(scale)
    learning = small(2, writer="scripted")
    values: dict[str, object] = {"modules": 4, "partition": "topic", "asked": asked} | how
    return Configuration("invented reports", size, learning, seed=seed, **values)  # type: ignore[arg-type]


def routed_reports(scale: Scale, seed: int) -> list[Point]:
    """Modules by topic and in order, by how they are chosen."""
    partitions = ("topic",) if scale.quick else ("topic", "order")
    points: list[Point] = [reports_single(scale, seed)]
    return points + [
        reports_several(scale, seed, partition=partition, routing=routing)
        for partition in partitions
        for routing in ("oracle", "nearest", "centroid")
    ]


def merges(scale: Scale, seed: int) -> list[Point]:
    """Three modules together, in every way."""
    return [
        several_small(scale, seed, routing="nearest", top=top, way=way, asked=24)
        for top, ways in ((1, ("mix",)), (3, WAYS))
        for way in ways
    ]


def right_modules(scale: Scale, seed: int) -> list[Point]:
    """From one right module to several, merged by TIES and mixed exactly."""
    return [
        several_small(scale, seed, routing="fixed", top=top, way=way)
        for way in ("ties", "mix")
        for top in range(1, MOST_RIGHT + 1)
    ]


# -- 12 to 15: long documents, with and without evidence in the prompt


def hybrids(scale: Scale, seed: int) -> list[Point]:
    """Base model, one adapter and several, each alone, with retrieval and with everything."""
    size, asked = reports_size(scale)
    points: list[Point] = []
    for context in ("none", "rag", "icl"):
        points += [
            Configuration("invented reports", size, context=context, asked=asked),
            reports_single(scale, seed, context=context),
            reports_several(scale, seed, routing="nearest", context=context),
            reports_several(scale, seed, routing="nearest", top=3, way="rows", context=context),
        ]
    return points


def long_texts(scale: Scale, seed: int) -> list[Point]:
    """Papers, stories and articles that are given, learned as text."""
    return [point for name in scale.texts for point in long_text(scale, name, seed)]


def long_text(scale: Scale, name: str, seed: int) -> list[Configuration]:
    """One of them, for each kind of prompt without an adapter and with one."""
    size, asked = (1, 6) if scale.quick else (2, 40)
    learning = small(8, forms=("raw",))
    return [
        Configuration(name, size, learned, context=context, asked=asked, seed=own)
        for context in (("none", "rag") if scale.quick else ("none", "rag", "icl"))
        for learned, own in ((None, 0), (learning, seed))
    ]


# -- beyond the study


def lives(scale: Scale, seed: int) -> list[Point]:
    """A memory that forgets, is corrected and rolled back."""
    sizes = (6,) if scale.quick else (8,)
    return [LifeRun(size, Learning(rank=8), seed) for size in sizes]


def more_lives(scale: Scale, seed: int) -> list[Point]:
    """The same with more facts."""
    return [] if scale.quick else [LifeRun(n, Learning(rank=8), seed) for n in (16, 32)]
