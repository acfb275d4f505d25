"""Trained models as folders and files: what they are, what they know of their errors, and how they travel."""
