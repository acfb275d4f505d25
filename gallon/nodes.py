"""Classify the nodes of a text graph from files, some of which are enhanced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.text_graph.comparing import NodeSettings, compare
from distill.text_graph.files import Columns, read
from gallon.progress import ProgressCallback, phase
from teacher import strict_json
from teacher.files import check_output, placed, write_text


def compare_nodes(
    nodes: Path,
    edges: Path,
    *,
    columns: Columns,
    settings: NodeSettings,
    encoder: str,
    out: Path | None = None,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Compare choices of the nodes whose texts are embedded; see `distill.text_graph.comparing.compare`.

    Args:
        nodes: a table of nodes.
        edges: a table of edges.
        columns: of the nodes.
        settings: of choice and network.
        encoder: the text encoder, as `gallon teach` takes it.
        out: a .json file for the result, if any.
        overwrite: whether a file that is there may be replaced.
        progress: called as trainings go on.

    Raises:
        UsageError: files or settings are wrong.
    """
    nodes, edges, out = placed(nodes), placed(edges), placed(out) if out else None
    if out:
        check_output(out, suffixes=[".json"], inputs=[nodes, edges], overwrite=overwrite)
    graph = read(nodes, edges, columns)
    settings.choice, settings.aggregation  # noqa: B018  (found before an encoder is loaded)
    from teacher.nn.text_encoder import embed

    with phase(progress, "nodes", "trainings") as running:
        found = compare(graph, lambda texts: embed(texts, encoder), settings, running.update)
    told = {**found, "encoder": encoder}
    if out:
        write_text(out, strict_json.dumps(told, indent=2) + "\n")
    return told
