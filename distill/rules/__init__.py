"""Rules: features of a molecule that bear on one property, as a person or an LLM names them, once per property."""
