"""Keep documents in a directory, and search them: filters, scores, diversity, deletion.

Run it with a directory for the documents:  python vector_store.py library.mem
"""

import sys

from langchain_core.documents import Document

from langchain_memkit import MemkitVectorStore

BOOKS = [
    Document(id="whales", page_content="A captain hunts a white whale.", metadata={"year": 1851}),
    Document(id="sea", page_content="An old fisherman catches a marlin.", metadata={"year": 1952}),
    Document(id="shark", page_content="A shark comes to a beach town.", metadata={"year": 1974}),
    Document(id="mars", page_content="An astronaut is left on Mars.", metadata={"year": 2011}),
    Document(id="dune", page_content="A desert planet has giant worms.", metadata={"year": 1965}),
]


def show(title: str, documents: list[Document]) -> None:
    names = [f"{document.id} ({document.metadata['year']})" for document in documents]
    print(f"{title}:", ", ".join(names))


def main(path: str) -> None:
    """Fill a store, close it, and open it again."""
    with MemkitVectorStore.open(path) as store:  # all-MiniLM-L6-v2; or any Embeddings
        store.add_documents(BOOKS)

    with MemkitVectorStore.open(path) as store:
        for document, score in store.similarity_search_with_score("fishing at sea", k=3):
            print(f"{score:+.2f}  {document.page_content}")
        show("after 1960", store.similarity_search("fish", k=2, filter={"year": {"$gt": 1960}}))
        show("diverse", store.max_marginal_relevance_search("fish", k=3, lambda_mult=0.2))

        store.add_texts(["A captain hunts a whale, and is lost."], [{"year": 1851}], ids=["whales"])
        store.delete(["shark"])
        show("now", store.as_retriever(search_kwargs={"k": 2}).invoke("dangerous sea animals"))


if __name__ == "__main__":
    main(*sys.argv[1:])
