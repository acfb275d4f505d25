"""Scoring a library with a saved model."""
