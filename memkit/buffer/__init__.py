"""The in-context buffer: recent conversation turns, straight from the ledger."""

from memkit.buffer.buffer import BufferBackend

__all__ = ["BufferBackend"]
