"""The in-context buffer: recent conversation turns, straight from the ledger."""
