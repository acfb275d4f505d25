"""The process of `screen.workers` that cannot load its model."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.exit("The model is too large for this machine.")
