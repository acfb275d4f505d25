"""Molecules as numbers: fingerprints, descriptors, surroundings, and how alike molecules are."""
