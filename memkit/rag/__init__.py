"""Retrieval: the fact index (FAISS and BM25 over the ledger's passages) and its backend."""
