"""A model in one file, and what is said of one that is damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from distill.models.model_store import WEIGHTS
from distill.models.packing import pack, unpacked_model
from teacher.errors import UsageError

LOCAL_HEADER = 30  # bytes before a file's name, which its packed bytes follow


def test_a_packed_model_with_a_byte_that_flipped_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder, packed = tmp_path / "model", tmp_path / "model.zip"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(bytes(10_000))
    pack(folder, packed)
    with zipfile.ZipFile(packed) as archive:
        begin = archive.getinfo(WEIGHTS).header_offset + LOCAL_HEADER + len(WEIGHTS)
    whole = packed.read_bytes()
    for damage in (b"\xff", bytes([whole[begin] ^ 0x10])):  # a kind of block that there is not, and another content
        packed.write_bytes(whole[:begin] + damage + whole[begin + 1 :])
        with pytest.raises(UsageError, match="is no model that gallon has packed"), unpacked_model(packed):
            pass
