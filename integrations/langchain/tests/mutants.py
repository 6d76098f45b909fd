"""Breaks the package on purpose, one way at a time: its tests must notice each.

Run it:  python integrations/langchain/tests/mutants.py
It prints the mutants that nothing noticed; there must be none.
"""

import contextlib
import io
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from langchain_core.documents import Document

from langchain_memkit import MemkitRetriever, MemkitVectorStore, retriever, tools, vectorstore
from langchain_memkit.tools import MemoryTool
from memkit import Memory

UNIT_TESTS = Path(__file__).parent / "unit_tests"
STORE, SEARCH, RETRIEVER, TOOLS = (
    UNIT_TESTS / f"test_{name}.py"
    for name in ("vectorstore", "vectorstore_search", "retriever", "tools")
)

add_texts, selected = MemkitVectorStore.add_texts, vectorstore.selected
search, get_many = Memory.search, Memory.get_many
by_vector = MemkitVectorStore.similarity_search_with_score_by_vector
document_of, chosen = retriever.document_of, MemkitRetriever._chosen


def without(hit, **parts):
    return document_of(hit).model_copy(update=parts)


# What is done: which tests notice, what is replaced, by what.
MUTANTS = {
    "ids are not given": (
        STORE, vectorstore, "_document",
        lambda record: Document(page_content=record.text, metadata=dict(record.metadata)),
    ),
    "ids are not stored": (
        STORE, MemkitVectorStore, "add_texts",
        lambda self, texts, metadatas=None, *, ids=None: add_texts(self, texts, metadatas),
    ),
    "metadata is not given": (
        STORE, vectorstore, "_document",
        lambda record: Document(id=record.id, page_content=record.text),
    ),
    "metadata is not stored": (
        STORE, MemkitVectorStore, "add_texts",
        lambda self, texts, metadatas=None, *, ids=None: add_texts(self, texts, ids=ids),
    ),
    "k is ignored": (
        STORE, MemkitVectorStore, "similarity_search_with_score_by_vector",
        lambda self, vector, k=4, **options: by_vector(self, vector, 4, **options),
    ),
    "the scope is ignored by searches": (
        STORE, vectorstore, "selected",
        lambda options, scope: {**selected(options, scope), "scope": {}},
    ),
    "the scope is ignored by ids": (
        STORE, Memory, "get_many", lambda self, ids, **_: get_many(self, ids)
    ),
    "filters are ignored": (
        STORE, vectorstore, "selected",
        lambda options, scope: {**selected(options, scope), "where": None},
    ),
    "thresholds are ignored": (SEARCH, vectorstore, "near_enough", lambda hits, options: hits),
    "the worst comes first": (
        SEARCH, MemkitVectorStore, "similarity_search_with_score_by_vector",
        lambda self, *query, **options: by_vector(self, *query, **options)[::-1],
    ),
    "a retriever drops ids": (
        RETRIEVER, retriever, "document_of", lambda hit: without(hit, id=None)
    ),
    "a retriever drops metadata": (
        RETRIEVER, retriever, "document_of",
        lambda hit: without(hit, metadata={"memkit": document_of(hit).metadata["memkit"]}),
    ),
    "a retriever drops scores": (
        RETRIEVER, retriever, "document_of", lambda hit: without(hit, metadata=hit.record.metadata)
    ),
    "a retriever ignores its k": (
        RETRIEVER, MemkitRetriever, "_chosen", lambda self, given: chosen(self, {"k": 4} | given)
    ),
    "a retriever ignores the k of a call": (
        RETRIEVER, MemkitRetriever, "_chosen",
        lambda self, given: chosen(self, {**given, "k": None}),
    ),
    "a retriever ignores its scope": (
        RETRIEVER, MemkitRetriever, "_chosen",
        lambda self, given: chosen(self, {"scope": {}} | given),
    ),
    "a retriever ignores times": (
        RETRIEVER, MemkitRetriever, "_chosen",
        lambda self, given: {
            **chosen(self, given), "since": None, "until": None, "as_of": None,
        },
    ),
    "a retriever gives the worst first": (
        RETRIEVER, Memory, "search",
        lambda self, *query, **options: search(self, *query, **options)[::-1],
    ),
    "tools ignore the scope": (TOOLS, tools, "resolve", lambda scoping, runtime: {}),
    "tools change what belongs to others": (
        TOOLS, MemoryTool, "own", lambda self, name, _: self.memory.get(name)
    ),
}  # fmt: skip


def noticed(tests, target, name, mutant):
    """Whether the tests fail once something is replaced."""
    options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-o", "filterwarnings="]
    with patch.object(target, name, mutant), contextlib.redirect_stdout(io.StringIO()):
        return pytest.main([*options, str(tests)]) == pytest.ExitCode.TESTS_FAILED


def main():
    """Try all mutants; returns how many were not noticed."""
    alive = [name for name, mutant in MUTANTS.items() if not noticed(*mutant)]
    for name in alive:
        print(f"nothing noticed that {name}")
    print(f"{len(MUTANTS) - len(alive)} of {len(MUTANTS)} mutants were noticed")
    return len(alive)


if __name__ == "__main__":
    sys.exit(main())
