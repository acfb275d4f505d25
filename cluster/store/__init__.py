"""The store: records, dead letters and ledgers in Redis."""
