"""What came of a run: records and dead letters, taken out, put in, recounted and checked."""
