"""The LLM: what it is asked, by which engine, and whether its answer holds."""
