"""Weights of TabPFN that nobody trained: files as its authors publish them, of a network a hundred times as small."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

CLASSES, BUCKETS = 10, 16


def write_tabpfn(folder: Path, seed: int = 0) -> None:
    """Write the files for numbers and for classes."""
    import torch
    from tabpfn.architectures.shared.bar_distribution import FullSupportBarDistribution
    from tabpfn.architectures.tabpfn_v2 import TabPFNV2Config, get_architecture
    from tabpfn.checkpoint import save_as_safetensors

    folder.mkdir(parents=True, exist_ok=True)
    borders = FullSupportBarDistribution(torch.linspace(-4, 4, BUCKETS + 1)).state_dict()
    for part, classes, buckets, criterion in (("regressor", 0, BUCKETS, borders), ("classifier", CLASSES, 0, {})):
        config = TabPFNV2Config(emsize=32, nlayers=2, nhead=2, max_num_classes=classes, num_buckets=buckets)
        torch.manual_seed(seed)
        network = get_architecture(config)
        for weights in network.parameters():
            torch.nn.init.normal_(weights, std=0.3)  # as they begin, some are zero, and every answer is the same
        state = {**network.state_dict(), **{f"criterion.{name}": value for name, value in criterion.items()}}
        written = {"state_dict": state, "config": asdict(config), "architecture_name": "tabpfn_v2"}
        save_as_safetensors(written, folder / f"tabpfn-v2-{part}.safetensors")
