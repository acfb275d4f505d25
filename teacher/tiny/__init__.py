"""The `tiny` model: a small multimodal LLM that comes with the project, and how it was trained (see README.md)."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"

__all__ = ["CHECKPOINT"]
