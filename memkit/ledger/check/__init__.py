"""Whether the ledger's tables agree with each other."""
