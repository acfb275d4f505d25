"""The metrics by name: what runs and trainings count, under which tags."""

from __future__ import annotations

from cluster.runtime.instruments import Counter, Gauge, Histogram

# Counted by the workers
ROWS = Counter("gallon_rows", "Rows of the library by what they were found to be: todo, skipped, invalid.", "outcome")
MOLECULES = Counter("gallon_molecules", "Molecules brought to an end: accepted, dead.", "outcome")
DEAD_LETTERS = Counter("gallon_dead_letters", "Dead letters of molecules.", "stage", "reason")
RETRIES = Counter("gallon_retries", "Answers refused and asked for again, by the check that refused them.", "reason")
TOKENS = Counter("gallon_tokens", "Tokens read (prompt) and written (completion), refused answers included.", "kind")
REASONING_TOKENS = Counter("gallon_reasoning_tokens", "Of the completion tokens, those of thoughts before answers.")
IN_FLIGHT = Gauge("gallon_in_flight", "Molecules in the engines' hands.")
ENGINE_SECONDS = Histogram(
    "gallon_engine_seconds",
    "From handing a request to the engine to its answer.",
    [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300],
)
ENGINE_DEATHS = Counter("gallon_engine_deaths", "Engines that died, or failed to start.")
COMMIT_SECONDS = Histogram(
    "gallon_commit_seconds",
    "Durable commits, each of some molecules.",
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 20],
)
GROUNDING = Histogram(
    "gallon_grounding", "Agreement of accepted texts with RDKit, 0 to 1.", [tenth / 10 for tenth in range(1, 11)]
)
WORKER_SECONDS = Counter("gallon_worker_seconds", "Time that annotators have lived.")
GPU_SECONDS = Counter("gallon_gpu_seconds", "The same, times the GPUs that they hold.")

# Read from the store by the driver
RUN_MOLECULES = Gauge(
    "gallon_run_molecules", "Molecules that the run is to annotate: accepted, dead, pending.", "state"
)
RUN_ROWS = Gauge("gallon_run_rows", "Rows of the library that the run has read.")
ETA_SECONDS = Gauge("gallon_eta_seconds", "Time until the run is done, at its pace of the last minute.")
STORE_BYTES = Gauge("gallon_store_bytes", "Memory that Redis uses.")
STORE_MAX_BYTES = Gauge("gallon_store_max_bytes", "Memory that Redis may use (maxmemory); 0 is no limit.")

# Counted by the service
SERVICE_REQUESTS = Counter("gallon_service_requests", "Requests to the service.", "path", "status")
SERVICE_MOLECULES = Counter("gallon_service_molecules", "Molecules answered: stored, new, predicted.", "kind")
SERVICE_SECONDS = Histogram(
    "gallon_service_seconds",
    "From a request to its answer inside the service: stored, new, predicted.",
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120],
    "kind",
)
SERVICE_QUEUED = Gauge("gallon_service_queued", "Molecules that the service has on their way to annotators.")

# Counted by trainings
TRAINED = Counter("gallon_trained_molecules", "Molecules that a model was trained on, every epoch anew.", "model")
LOSS = Gauge("gallon_loss", "Loss of a model in training, over the last epoch.", "model")
SCORE = Gauge("gallon_validation_score", "Validation score of a model in training; greater is better.", "model")
