"""The metrics by name: what runs and trainings count, under which tags."""

from __future__ import annotations

from cluster.runtime.instruments import Count, Level, Spread

# Counted by the workers
ROWS = Count("gallon_rows", "Rows of the library by what they were found to be: todo, skipped, invalid.", "outcome")
MOLECULES = Count("gallon_molecules", "Molecules brought to an end: accepted, dead.", "outcome")
DEAD_LETTERS = Count("gallon_dead_letters", "Dead letters of molecules.", "stage", "reason")
RETRIES = Count("gallon_retries", "Answers refused and asked for again, by the check that refused them.", "reason")
TOKENS = Count("gallon_tokens", "Tokens read (prompt) and written (completion), refused answers included.", "kind")
IN_FLIGHT = Level("gallon_in_flight", "Molecules in the engines' hands.")
ENGINE_SECONDS = Spread(
    "gallon_engine_seconds",
    "From handing a request to the engine to its answer.",
    [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300],
)
ENGINE_DEATHS = Count("gallon_engine_deaths", "Engines that died, or failed to start.")
COMMIT_SECONDS = Spread(
    "gallon_commit_seconds",
    "Durable commits, each of some molecules.",
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 20],
)
GROUNDING = Spread(
    "gallon_grounding", "Agreement of accepted texts with RDKit, 0 to 1.", [tenth / 10 for tenth in range(1, 11)]
)
WORKER_SECONDS = Count("gallon_worker_seconds", "Time that annotators have lived.")
GPU_SECONDS = Count("gallon_gpu_seconds", "The same, times the GPUs that they hold.")

# Read from the store by the driver
RUN_MOLECULES = Level(
    "gallon_run_molecules", "Molecules that the run is to annotate: accepted, dead, pending.", "state"
)
RUN_ROWS = Level("gallon_run_rows", "Rows of the library that the run has read.")
ETA_SECONDS = Level("gallon_eta_seconds", "Time until the run is done, at its pace of the last minute.")
STORE_BYTES = Level("gallon_store_bytes", "Memory that Redis uses.")
STORE_MAX_BYTES = Level("gallon_store_max_bytes", "Memory that Redis may use (maxmemory); 0 is no limit.")

# Counted by trainings
TRAINED = Count("gallon_trained_molecules", "Molecules that a model was trained on, every epoch anew.", "model")
LOSS = Level("gallon_loss", "Loss of a model in training, over the last epoch.", "model")
SCORE = Level("gallon_validation_score", "Validation score of a model in training; greater is better.", "model")
