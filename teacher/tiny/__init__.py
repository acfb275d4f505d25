"""The `tiny` model: a small multimodal LLM that comes with the project, and how it was trained (see README.md)."""
