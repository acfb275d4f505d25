"""The queries of the Grafana dashboard, as Prometheus gets them."""

from __future__ import annotations

import json
from pathlib import Path

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "gallon.json"
VARIABLES = {"$run": ".*", "$__rate_interval": "1m"}


def queries() -> list[tuple[str, str]]:
    """Return the title of a panel and a query of it, for each query."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            found.append((panel["title"], query))
    return found
