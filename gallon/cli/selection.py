"""The commands that make libraries ready: what an LLM should describe, and what networks learn of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gallon.cli.options import (
    OUTPUT_PANEL,
    AsJson,
    ConfigFile,
    Library,
    Overwrite,
    PreparedFolder,
    RayAddress,
    SpecId,
    StoreOption,
    flatten_options,
)
from gallon.cli.output import embedded_facts, prepared_facts, pretrained_facts, print_json, print_table
from gallon.cli.progress import shown, stderr
from gallon.config import DEFAULT_STORE, LibraryConfig, PretrainConfig, ShortKeepConfig


@flatten_options
def choose(
    *,
    library: Library,
    number: Annotated[int, typer.Option(min=1, help="How many molecules to choose.")],
    by: Annotated[
        str, typer.Option(help="What makes one telling: coverage, degree, pagerank, cluster, length or random.")
    ] = "coverage",
    student: Annotated[
        Path | None,
        typer.Option(
            help="A student: choose what it is unsure of, far from what is labelled; a folder, file or hf://."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="OUT.csv, OUT.tsv, OUT.parquet or OUT.jsonl; of SDF also OUT.sdf")],
    overwrite: Overwrite = False,
    keeping: ShortKeepConfig,
    only_chosen: Annotated[
        bool,
        typer.Option(
            "--only-chosen",
            help="Write the first row of each chosen molecule only, the most useful first.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    reading: LibraryConfig,
    seed: Annotated[int, typer.Option(help="Seed of the random candidates.")] = 0,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Select a representative subset of a library, where describing or measuring all of it is too expensive.

    Every molecule should have a similar one in the subset; the mean similarity is printed next to that of a random
    subset of the same size. --by chooses as E-LLaGNN does instead. With --student molecules count by how unsure it is
    of them, and those that it has learned from cover what is near them: it chooses what to measure next. The teacher
    e-llagnn learns about all molecules from annotations of the subset. Every row of the library is written, in order,
    with its own columns and the rank of its molecule in the subset.

    Example: `gallon choose library.smi.zst --number 10000 --only-chosen --out chosen.csv`
    """
    from gallon.api import selection

    with shown(stderr()) as progress:
        chosen = selection.choose(
            library,
            reading=reading,
            number=number,
            by=by,
            student=student,
            out=out,
            overwrite=overwrite,
            keeping=keeping,
            only_chosen=only_chosen,
            seed=seed,
            progress=progress,
        )
    facts = {
        "molecules": chosen.molecules,
        "chosen": number,
        "coverage": round(chosen.coverage, 3),
        "coverage_at_random": round(chosen.coverage_at_random, 3),
        "path": str(chosen.path),
    }
    if as_json:
        print_json(facts)
    else:
        print_table("Chosen", facts)


@flatten_options
def prepare(
    *,
    library: Library,
    out: Annotated[Path, typer.Option(help="Folder of the shards.")],
    overwrite: Overwrite = False,
    descriptors: Annotated[
        str, typer.Option(help="Descriptors beside a fingerprint: all (slow), lean, estimated (fast) or none.")
    ] = "lean",
    reading: LibraryConfig,
    ray: RayAddress = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Describe the molecules of a library once, so that students learn from all of it.

    Graphs, fingerprints and descriptors go to disk as shards of a few thousand rows, about 0.35 kB a molecule; nothing
    holds more than a few of them. Rows without a molecule and duplicates are counted and kept with the reason. The same
    command again continues where it was stopped.

    Example: `gallon prepare library.smi.zst --out prepared`
    """
    from gallon.api import selection

    with shown(stderr()) as progress:
        prepared = selection.prepare(
            library,
            reading=reading,
            out=out,
            overwrite=overwrite,
            descriptors=descriptors,
            ray=ray,
            progress=progress,
        )
    facts = prepared_facts(prepared)
    if as_json:
        print_json(facts)
    else:
        print_table("Prepared", {name: value for name, value in facts.items() if name != "reasons"})


@flatten_options
def embed(
    *,
    library: PreparedFolder,
    encoder: Annotated[str, typer.Option(help="Text encoder: 'minilm', a Hugging Face id, or a folder.")] = "minilm",
    spec_id: SpecId = None,
    store: StoreOption = DEFAULT_STORE,
    ray: RayAddress = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Embed the annotations of a prepared library's molecules, so that networks learn from them.

    Texts and vectors go into the library's folder, about 1 kB a molecule. GPUs are used where there are some. The same
    command again embeds what has been annotated since, and nothing twice.

    Example: `gallon embed prepared`
    """
    from gallon.api import selection

    with shown(stderr()) as progress:
        embedded = selection.embed(library, encoder=encoder, spec_id=spec_id, store=store, ray=ray, progress=progress)
    facts = embedded_facts(embedded)
    if as_json:
        print_json(facts)
    else:
        print_table("Embedded", facts)


@flatten_options
def pretrain(
    *,
    library: PreparedFolder,
    teacher: Annotated[str, typer.Option(help="The network: gcn, gin, gat or dmpnn.")] = "dmpnn",
    out: Annotated[Path, typer.Option(help="Folder of the network, for `gallon teach --start`.")],
    pretraining: PretrainConfig,
    spec_id: SpecId = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Pre-train a graph network on a prepared library, before it sees a label.

    It learns the descriptors of every molecule and, where `gallon embed` was run, the fields and the embeddings of the
    annotations. With --alignment-weight it also learns to tell which annotation is whose: a molecule and the embedding
    of its annotation come close in one space. `gallon teach --start FOLDER` fine-tunes it on labels. The same command
    again continues where it was stopped, also in the middle of a pass.

    Example: `gallon pretrain prepared --out pretrained`
    """
    from gallon.api import selection

    with shown(stderr()) as progress:
        pretrained = selection.pretrain(
            library, teacher=teacher, out=out, pretraining=pretraining, spec_id=spec_id, progress=progress
        )
    facts = pretrained_facts(pretrained)
    if as_json:
        print_json(facts)
    else:
        print_table("Pre-trained", facts)


def nodes(
    nodes: Annotated[
        Path, typer.Argument(metavar="NODES", help="A row for each node: id, text, label (.csv, .tsv, .parquet).")
    ],
    *,
    edges: Annotated[
        Path, typer.Option(help="A row for each edge: the ids of its two nodes, in the first two columns.")
    ],
    id_column: Annotated[str, typer.Option(help="Column with the ids of nodes.")] = "id",
    text_column: Annotated[str, typer.Option(help="Column with their texts.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column with their classes, which may be empty.")] = "label",
    split_column: Annotated[
        str | None, typer.Option(help="Column that says train, valid or test; default: 60, 20 and 20 % at random.")
    ] = None,
    budget: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the nodes whose texts are embedded.")] = 0.1,
    by: Annotated[str, typer.Option(help="Which: degree, pagerank, cluster, length or random.")] = "degree",
    network: Annotated[str, typer.Option(help="sage or gcn.")] = "sage",
    layers: Annotated[int, typer.Option(min=1, max=64, help="Of the network: so many edges far a node hears.")] = 2,
    width: Annotated[int, typer.Option(min=1, help="Of the network.")] = 64,
    dropout: Annotated[float, typer.Option(min=0.0, max=0.95, help="Of the network.")] = 0.5,
    epochs: Annotated[int, typer.Option(min=1, help="Of the training; the best on the validation part counts.")] = 200,
    encoder: Annotated[str, typer.Option(help="Text encoder: 'minilm', a Hugging Face id, or a folder.")] = "minilm",
    seeds: Annotated[int, typer.Option(min=1, help="How many, from --seed on.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of split, draws and network.")] = 0,
    out: Annotated[Path | None, typer.Option(help="OUT.json", rich_help_panel=OUTPUT_PANEL)] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Classify the nodes of a text graph, after E-LLaGNN: a share of them is enhanced by a text encoder.

    Chosen nodes begin with the embedding of their text, all others with their words. The same network is trained with
    as many nodes at random, with all, with none, and with all but without edges.

    Example: `gallon nodes papers.csv --edges citations.csv --budget 0.1 --by pagerank`
    """
    from distill.text_graph.comparing import NodeSettings
    from distill.text_graph.files import Columns
    from gallon.nodes import compare_nodes

    with shown(stderr()) as progress:
        found = compare_nodes(
            nodes,
            edges,
            columns=Columns(id=id_column, text=text_column, label=label_column, split=split_column),
            settings=NodeSettings(
                budget=budget,
                by=by,
                network=network,
                layers=layers,
                width=width,
                dropout=dropout,
                epochs=epochs,
                seeds=seeds,
                seed=seed,
            ),
            encoder=encoder,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        print_json(found)
        return
    told = {
        f"{row['enhanced']} ({row['nodes']:,})": f"{row['test']:.3f} ± {row['deviation']:.3f}" for row in found["rows"]
    }
    print_table("Accuracy on the test part, by the nodes that are enhanced", told)
