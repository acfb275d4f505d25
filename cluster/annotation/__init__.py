"""The annotation run: rows become records, through a pool of workers with one LLM engine each."""
