"""Changes a memory in use to another embedder.

New vectors are stored beside the old ones, which searches go on using. Once every passage has
one, passages that were added meanwhile included, a single transaction puts them in place of the
old. A run that was killed is continued by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tqdm import tqdm

from memkit.ledger import Ledger
from memkit.ledger.engine.locks import embedding_lock
from memkit.protocols import Embedder
from memkit.rag.vectors.flat import check_vectors

BATCH = 128  # texts per call of the embedder, and per transaction

Switch = Callable[[], bool]


def reembed(
    ledger: Ledger, embedder: Embedder, change_over: Callable[[Switch], bool] | None = None
) -> int:
    """Embed every passage with another embedder, then make it the memory's.

    Args:
        ledger: Where the passages are.
        embedder: The new one.
        change_over: Gets a function that puts the new vectors in place, calls it inside a
            transaction of the ledger, and returns its result; None does no more than that.

    Returns:
        How many passages were embedded.

    Raises:
        InvalidInputError: If the embedder returns something else than unit rows.
        BusyError: If another process or thread is doing the same.
    """

    def switch() -> bool:
        return ledger.shadow_vectors.take_over(embedder.name, embedder.dim)

    done = 0
    with embedding_lock(ledger):
        ledger.shadow_vectors.begin(embedder.name, embedder.dim)
        total = ledger.shadow_vectors.waiting()
        with tqdm(desc="embedding", unit="passage", total=total, disable=None, delay=2) as bar:
            while True:
                for count in _embed_waiting(ledger, embedder):
                    done += count
                    bar.update(count)
                if change_over(switch) if change_over else switch():  # unless some were added now
                    break
        ledger.shadow_vectors.drop()
    return done


def _embed_waiting(ledger: Ledger, embedder: Embedder) -> Iterator[int]:
    """Embed and store batch by batch; yields the size of each."""
    last = 0
    while batch := ledger.shadow_vectors.next_texts(after=last, limit=BATCH):
        texts = list(batch.values())
        vectors = embedder.encode_document(texts)
        ledger.shadow_vectors.put(
            dict(zip(batch, check_vectors(vectors, rows=len(texts), dim=embedder.dim), strict=True))
        )
        last = max(batch)
        yield len(batch)
