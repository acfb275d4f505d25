"""Training on Ray Train: fits, spread over workers, that can be taken up again."""
