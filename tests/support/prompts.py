"""A prompt file of one's own, but for its schema."""

PROMPT = {
    "name": "mine",
    "version": 1,
    "summary": "s",
    "max_tokens": 50,
    "instructions": "Look.",
    "image": "Drawing:",
    "smiles": "{smiles}",
    "graph": "{graph}",
    "closing": "JSON:",
}
