"""How busy a GPU is while something is measured."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

EVERY_SECONDS = 0.1


@dataclass
class GpuBusy:
    """Asks the driver ten times a second, in a thread, how much of the time a kernel ran on the first GPU."""

    samples: list[tuple[float, float, float]] = field(default_factory=list)  # wall time, percent, watts
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, begun: float, ended: float) -> dict[str, float]:
        """Return the mean share and power between two wall times; nothing without a GPU."""
        found = [(share, watts) for at, share, watts in self.samples if begun <= at <= ended]
        if not found:
            return {}
        shares, watts = zip(*found, strict=True)
        return {"busy": round(statistics.mean(shares) / 100, 3), "watts": round(statistics.mean(watts))}

    def _watch(self) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            gpu: Any = pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception:  # noqa: BLE001 (no library, no driver or no GPU: nothing to watch)
            return
        while not self._ended.wait(EVERY_SECONDS):
            share = pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu
            self.samples.append((time.time(), share, pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000))


def gpu_name() -> str | None:
    """Return the name of the first GPU, if there is one."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
