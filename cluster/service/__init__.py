"""The on-demand service: HTTP in front of the same annotators as a batch run has, and of saved models."""
