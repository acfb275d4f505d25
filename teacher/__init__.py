"""Knows molecules, prompts, the LLM engine and the checks on what it writes. Needs neither Ray nor Redis."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # who imports us decides what is shown
