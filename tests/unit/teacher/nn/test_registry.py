"""Networks that are built by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from teacher.nn.registry import ARCHITECTURES

BUILD = """
import sys
import numpy as np
from teacher.nn.graphs import Graphs
from teacher.nn.registry import ARCHITECTURES
from rdkit.Chem import MolFromSmiles
batch = Graphs.of([MolFromSmiles("CCO")]).batch(np.array([0]))
for name in sys.argv[1:]:
    for _ in range(2):
        network = ARCHITECTURES[name].build(1, **ARCHITECTURES[name].settings)
    assert network.eval()(batch)[0].shape == (1, 1)
assert "torch_geometric" in sys.modules
"""


def test_the_code_that_pyg_generates_for_networks_is_not_left_on_the_disk(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", BUILD, *ARCHITECTURES], env=environment, check=True, timeout=240)
    assert list(tmp_path.glob("*.py")) == []
