"""The task of `gallon prepare`, where the disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from teacher.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

    from distill.features.vectors import DescriptorSet
    from distill.library.shard import ShardFacts


def write_on_a_full_disk(
    _rows: pa.Table, _descriptors: DescriptorSet, file: Path, _killers: Mapping[int, str] = MappingProxyType({})
) -> ShardFacts:
    """Fail as `distill.library.shard.write_shard` does where no space is left."""
    with replacing(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
