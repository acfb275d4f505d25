"""YAML that people write, read alike in every process.

What looks like a date stays text. A library that vLLM imports changes PyYAML's own reading of dates for its whole
process (lm-format-enforcer), so a prompt would else be one thing to the command and another beside an engine.
"""

from __future__ import annotations

from typing import Any

import yaml

TIMESTAMP = "tag:yaml.org,2002:timestamp"


NULL, MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"


class _PlainLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own declaration)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _WordLoader(_PlainLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 (likewise)
        first: [(tag, pattern) for tag, pattern in resolvers if tag in {NULL, MERGE}]
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


def read_words(text: str) -> Any:
    """Parse one YAML document whose scalars stay the words that are written, `0123` and `NO` too; null is None.

    Raises:
        yaml.YAMLError: it is not valid, or holds an object.
    """
    return yaml.load(text, Loader=_WordLoader)
