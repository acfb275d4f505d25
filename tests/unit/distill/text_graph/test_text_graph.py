"""Node classification on a graph of texts from files."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import networkx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from typer.testing import CliRunner

from distill.text_graph.comparing import WITHOUT_EDGES, NodeSettings, compare
from distill.text_graph.files import UNKNOWN, Columns, TextGraph, read
from gallon.cli.app import app
from teacher.errors import UsageError
from teacher.nn.nodes import NodeGNN, normalised

NODES, CLASSES, TOLD = 150, 3, 0.4
TOPICS = ("soluble polar ionic", "greasy lipid chain", "aromatic stacked flat")


def written(folder: Path, nodes: Sequence[Sequence[str]], edges: Sequence[Sequence[str]]) -> tuple[Path, Path]:
    for name, rows in (("nodes.csv", nodes), ("edges.csv", edges)):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    return folder / "nodes.csv", folder / "edges.csv"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A graph whose neighbours are mostly of one class, which only some of the texts tell."""
    random = np.random.default_rng(0)
    classes = random.integers(CLASSES, size=NODES)
    told = random.random(NODES) < TOLD
    texts = [TOPICS[label] if tells else "nothing to tell" for label, tells in zip(classes, told, strict=True)]
    nodes = [(f"n{number}", texts[number], f"class {classes[number]}") for number in range(NODES)]
    edges = [
        (f"n{one}", f"n{random.choice(np.flatnonzero(classes == classes[one]) if random.random() < 0.9 else NODES)}")
        for one in range(NODES)
        for _ in range(4)
    ]
    folder = tmp_path_factory.mktemp("graph")
    return written(folder, [("id", "text", "label"), *nodes], [("source", "target"), *edges])


@pytest.fixture(scope="module")
def graph(files: tuple[Path, Path]) -> TextGraph:
    return read(*files, Columns())


def topics(texts: Sequence[str]) -> np.ndarray:
    """Embed texts as an encoder does that knows the topics."""
    return np.array([[text == topic for topic in TOPICS] for text in texts], dtype=np.float32)


def nothing(texts: Sequence[str]) -> np.ndarray:
    return np.zeros((len(texts), 2), dtype=np.float32)


@pytest.mark.parametrize("network", ["sage", "gcn"])
def test_messages_bring_what_neighbours_texts_tell_and_controls_have_the_same_budget(
    network: str, graph: TextGraph
) -> None:
    shown: list[tuple[int, int]] = []
    settings = NodeSettings(budget=0.2, by="pagerank", network=network, seeds=2, epochs=40)
    found = compare(graph, topics, settings, lambda done, total: shown.append((done, total)))
    rows = {row["enhanced"]: row for row in found["rows"]}
    assert {name: row["nodes"] for name, row in rows.items()} == {
        **{"pagerank": NODES // 5, "random": NODES // 5},
        **{"all": NODES, "none": 0, WITHOUT_EDGES: NODES},
    }
    assert rows["all"]["test"] > rows[WITHOUT_EDGES]["test"] + 0.1
    deviations = [statistics.stdev(run["test"] for run in row["runs"]) for row in found["rows"]]
    assert [row["deviation"] for row in found["rows"]] == pytest.approx(deviations) and max(deviations) > 0
    assert shown == [(number, 10) for number in range(1, 11)] and not {"torch", "gallon"} - found["versions"].keys()
    assert found["splits"][0]["sizes"] == [90, 30, 30] and found["splits"][0] != found["splits"][1]


def test_an_embedding_is_read_of_enhanced_nodes_only_and_words_of_the_others(graph: TextGraph) -> None:
    torch.manual_seed(0)
    network = NodeGNN(3, words=4, embedding=2, width=8, layers=2, dropout=0.5, aggregation="sage").eval()
    words, embedded = torch.rand(NODES, 4), torch.rand(NODES, 2)
    enhanced = (torch.arange(NODES) < NODES // 2)[:, None]
    ends = graph.adjacency.tocoo()
    adjacency = normalised(torch.from_numpy(np.stack([ends.row, ends.col]).astype(np.int64)), NODES, "sage")
    said = network(words, embedded, enhanced, adjacency)
    unread = network(torch.where(enhanced, 9.0, words), torch.where(enhanced, embedded, 9.0), enhanced, adjacency)
    assert torch.allclose(said, unread)
    assert not torch.allclose(said, network(words, embedded, ~enhanced, adjacency), atol=1e-3)


def test_neighbours_are_summed_as_the_papers_say(graph: TextGraph) -> None:
    ends = graph.adjacency.tocoo()
    edges = torch.from_numpy(np.stack([ends.row, ends.col]).astype(np.int64))
    dense = torch.from_numpy(graph.adjacency.toarray()).float()
    mean = normalised(edges, NODES, "sage").to_dense()
    assert torch.allclose(mean, dense / dense.sum(1, keepdim=True).clamp(min=1))
    index, weight = gcn_norm(edges, num_nodes=NODES)
    reference = torch.sparse_coo_tensor(index, weight, (NODES, NODES)).to_dense()
    assert torch.allclose(normalised(edges, NODES, "gcn").to_dense(), reference, atol=1e-6)


def test_an_edge_is_one_whichever_way_and_how_often_it_is_given(tmp_path: Path) -> None:
    nodes = [
        ("key", "words", "kind", "part"),
        ("1", "a", "x", "train"),
        ("2", "b", "y", "Training"),
        ("3", "c", "", ""),
    ]
    nodes += [("4", "d", "x", "val"), ("5", "e", "y", "test")]
    edges = [("a", "b", "weight"), ("1", "2", "9"), ("2", "1", "9"), ("1", "2", "9"), ("3", "3", "9"), ("3", "1", "9")]
    columns = Columns(id="key", text="words", label="kind", split="part")
    graph = read(*written(tmp_path, nodes, edges), columns)
    reference = networkx.Graph([(0, 1), (2, 0)])
    reference.add_nodes_from(range(5))
    assert np.array_equal(graph.adjacency.toarray(), networkx.to_numpy_array(reference, nodelist=range(5)))
    assert graph.labels.tolist() == [0, 1, UNKNOWN, 0, 1] and graph.classes == ("x", "y")
    assert [part.tolist() for part in graph.split(0)] == [[0, 1], [3], [4]]
    table = pa.table({"key": [1, 2, 3], "words": ["a", "b", None], "kind": ["x", "y", None]})
    pq.write_table(table, tmp_path / "nodes.parquet")
    (tmp_path / "pairs.tsv").write_text("a\tb\n1\t3\n")
    other = read(tmp_path / "nodes.parquet", tmp_path / "pairs.tsv", Columns(id="key", text="words", label="kind"))
    assert other.texts == ("a", "b", "") and other.adjacency.nnz == 2


HEAD, ROWS = ("id", "text", "label"), [("1", "a", "x"), ("2", "b", "y")]
EDGES = [("a", "b"), ("1", "2")]


@pytest.mark.parametrize(
    ("nodes", "edges", "sentence"),
    [
        ([HEAD, *ROWS], [*EDGES, ("1", "7")], "row 2 has the id '7', which is no node of"),
        ([HEAD, *ROWS], [("a", "b"), ("1", "1")], "has no edge between two nodes"),
        ([HEAD, *ROWS], [("1", "2"), ("2", "1")], "has no header: its first line is an edge"),
        ([HEAD, *ROWS], [("a",), ("1",)], "has 1 column; the two ids"),
        ([HEAD, *ROWS, ("1", "c", "x")], EDGES, "row 3 has the id of another: 1"),
        ([HEAD, *ROWS, ("", "c", "x")], EDGES, "row 3 has no id"),
        ([HEAD, *ROWS, ("3", "c")], EDGES, "row 3 has 2 cells and not 3"),
        ([HEAD, ("1", "a", "x"), ("2", "b", "x")], EDGES, "'label' has 1 class; two are needed"),
        ([("id", "words", "label"), *ROWS], EDGES, "has no column 'text'; it has id, words, label"),
        ([], EDGES, "has no column 'id'"),
    ],
)
def test_a_mistake_in_the_files_is_told_in_a_sentence(
    nodes: list[tuple[str, ...]], edges: list[tuple[str, ...]], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=sentence):
        read(*written(tmp_path, nodes, edges), Columns())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"budget": 0.001}, "A budget of 0.001 of 150 nodes is none"),
        ({"by": "coverage"}, "No node is chosen by 'coverage'"),
        ({"network": "gat"}, "There is no network 'gat'"),
    ],
)
def test_a_mistake_in_the_settings_is_told_in_a_sentence(
    changes: dict[str, str | float], sentence: str, graph: TextGraph
) -> None:
    with pytest.raises(UsageError, match=sentence):
        compare(graph, nothing, NodeSettings(**changes))  # type: ignore[arg-type]


def test_a_split_needs_all_parts_and_two_classes_to_learn(tmp_path: Path) -> None:
    head = ("id", "text", "label", "part")
    columns = Columns(split="part")
    rows = [("1", "a", "x", "train"), ("2", "b", "y", "valid")]
    with pytest.raises(UsageError, match="No labelled node is in the part 'test'"):
        read(*written(tmp_path, [head, *rows], EDGES), columns).split(0)
    with pytest.raises(UsageError, match="All nodes to learn from are of one class"):
        read(*written(tmp_path, [head, *rows, ("3", "c", "y", "test")], EDGES), columns).split(0)
    with pytest.raises(UsageError, match="says 'later'; it should say train, valid or test"):
        read(*written(tmp_path, [head, *rows, ("3", "c", "y", "later")], EDGES), columns)


def test_the_command_embeds_the_texts_and_writes_what_it_found(files: tuple[Path, Path], tmp_path: Path) -> None:
    nodes, edges = map(str, files)
    out = tmp_path / "nodes.json"
    done = CliRunner().invoke(
        app, ["nodes", nodes, "--edges", edges, "--seeds", "1", "--epochs", "5", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert [row["enhanced"] for row in found["rows"]] == ["degree", "random", "all", "none", WITHOUT_EDGES]
    assert {row["deviation"] for row in found["rows"]} == {0}  # of one seed
    assert (found["nodes"], found["encoder"], len(found["files_sha256"])) == (NODES, "minilm", 2)
    assert "degree (15)" in done.output and "all, without edges (150)" in done.output
