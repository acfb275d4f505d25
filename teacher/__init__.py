"""Knows molecules, prompts, the LLM engine and the checks on what it writes. Needs neither Ray nor Redis."""
