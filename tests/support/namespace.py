"""A namespace of processes of its own, as a container has, for what a command starts."""

from __future__ import annotations

import subprocess

import pytest

APART = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def require_namespace() -> None:
    """Skip the test where none may be made."""
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace of processes may be made here")
