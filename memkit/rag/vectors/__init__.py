"""Vector indexes over the ledger's vectors."""
