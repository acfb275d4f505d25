"""YAML that people write, read alike in every process.

What looks like a date stays text. A library that vLLM imports changes PyYAML's own reading of dates for its whole
process (lm-format-enforcer), so a prompt would else be one thing to the command and another beside an engine.
"""

from __future__ import annotations

from typing import Any

import yaml

TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _PlainLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own declaration)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _refuse(loader: _PlainLoader, node: yaml.Node) -> None:
    loader.construct_undefined(node)


_PlainLoader.add_constructor(TIMESTAMP, _refuse)


def read_yaml(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        yaml.YAMLError: it is not valid, or holds an object (an explicit date too).
    """
    return yaml.load(text, Loader=_PlainLoader)
