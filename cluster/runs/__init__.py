"""How a run is going: its entry in the store, progress, workers, limits."""
