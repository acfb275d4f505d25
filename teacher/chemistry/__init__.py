"""Molecules: how they are read, drawn and written down, and what RDKit knows of them."""
