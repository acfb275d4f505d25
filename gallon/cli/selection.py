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
        "path": str(out),
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
