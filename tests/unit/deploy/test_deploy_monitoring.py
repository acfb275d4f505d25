"""The dashboard and the alert rules: every query parses, names a metric that there is, and each alert fires."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster import metrics
from cluster.runtime.instruments import Counter, Gauge, Histogram
from tests.support.panels import DASHBOARD, queries

PROMETHEUS = Path(__file__).parents[3] / "deploy" / "prometheus"
METRIC = re.compile(r"\bray_gallon_\w+")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool (it comes with Debian's package prometheus)")
    return found


def exported_names() -> set[str]:
    """Return the names under which Ray exports what is declared in `cluster.metrics`."""
    names = set()
    for metric in vars(metrics).values():
        if isinstance(metric, Counter):
            names.add(f"ray_{metric.name}_total")
        elif isinstance(metric, Gauge):
            names.add(f"ray_{metric.name}")
        elif isinstance(metric, Histogram):
            names |= {f"ray_{metric.name}_{part}" for part in ("bucket", "count", "sum")}
    return names


def alert_rules() -> list[dict[str, str]]:
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, str]] = group["rules"]
    return rules


def test_queries_and_alerts_ask_for_metrics_that_there_are() -> None:
    asked = {
        name
        for query in [query for _, query in queries()] + [rule["expr"] for rule in alert_rules()]
        for name in METRIC.findall(query)
    }
    assert asked
    assert asked <= exported_names()


def test_every_metric_is_shown() -> None:
    shown = " ".join(query for _, query in queries())
    unseen = {metric.name for metric in vars(metrics).values() if isinstance(metric, Counter | Gauge | Histogram)}
    assert {name for name in unseen if name not in shown} <= {"gallon_run_rows"}


def test_every_query_of_the_dashboard_parses(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, (_, query) in enumerate(queries())]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    subprocess.run([promtool, "check", "rules", path], check=True, capture_output=True)


def test_the_configuration_and_the_alerts_are_valid(promtool: str) -> None:
    subprocess.run([promtool, "check", "config", PROMETHEUS / "prometheus.yml"], check=True, capture_output=True)


def test_each_alert_fires_in_its_case_and_no_other(promtool: str, tmp_path: Path) -> None:
    cases = Path(__file__).with_name("alerts.test.yml")
    shutil.copy(PROMETHEUS / "alerts.yml", tmp_path)
    shutil.copy(cases, tmp_path)
    subprocess.run([promtool, "test", "rules", cases.name], cwd=tmp_path, check=True, capture_output=True)
    tried = {
        test["alertname"] for case in yaml.safe_load(cases.read_text())["tests"] for test in case["alert_rule_test"]
    }
    assert tried == {rule["alert"] for rule in alert_rules()}


def test_every_alert_says_what_to_do() -> None:
    for rule in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]:
        assert set(rule["annotations"]) == {"summary", "next"}
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_panels_do_not_overlap_and_have_names_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    squares = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(squares) == len(set(squares))
    assert max(x for x, _ in squares) < 24
