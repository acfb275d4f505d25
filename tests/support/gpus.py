"""GPUs that are not there."""

FAKE_GPUS = 4  # of the tests' Ray
