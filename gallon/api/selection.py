"""Make libraries ready: select what is to be described, prepare all to be learned of, embed texts, pre-train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.library.molecules import unique_molecules
from cluster.store.open import choose_spec, open_store
from cluster.training.driver import plan_resources
from distill.data import subset
from distill.features.library_graph import node_choice
from distill.features.vectors import descriptor_set
from distill.learn.recipes import recipe
from distill.library.beside.embedding import Embedded, embed_library, refuse_columns
from distill.library.beside.embeddings import TextSet
from distill.library.prepare import Prepared, check_place, plan_of
from distill.library.prepare import prepare as prepare_shards
from distill.library.prepared import PreparedLibrary
from distill.library.pretrain import Pretrained, Pretraining
from distill.library.pretrain import pretrain as pretrain_network
from distill.library.targets import GROUPS
from distill.models import pretraining as pretrained_models
from gallon.api.annotation import started_ray
from gallon.api.learning import fits_of, molecules_of
from gallon.api.library import Library, StrPath, check_rows_output, further_sources, kept_of, sources_of, store_named
from gallon.config import LibraryConfig, PretrainConfig, ShortKeepConfig, TableConfig, check_number
from gallon.progress import ProgressCallback, phase
from teacher.errors import UsageError
from teacher.files import placed
from teacher.nn.registry import ARCHITECTURES

if TYPE_CHECKING:
    from distill.screen.uncertainty import Uncertainty


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """A subset of a library.

    Attributes:
        smiles: the chosen molecules, the most useful first.
        molecules: of the library.
        coverage: mean Tanimoto similarity of a molecule to the nearest chosen one; by a student, to the nearest chosen
            or labelled one, weighted by how unsure it is of the molecule.
        coverage_at_random: the same for as many molecules at random.
        path: the file with the library's rows.
    """

    smiles: tuple[str, ...]
    molecules: int
    coverage: float
    coverage_at_random: float
    path: Path


def choose(
    library: Library,
    *,
    reading: LibraryConfig,
    number: int,
    by: str = "coverage",
    student: StrPath | None = None,
    out: StrPath,
    overwrite: bool = False,
    keeping: ShortKeepConfig,
    only_chosen: bool = False,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> Selection:
    """Select molecules such that every molecule of the library has a similar one among them, or that are telling else.

    The output has one row for each row of the library, in order, with its columns and the rank of its molecule among
    the chosen (`chosen`).

    Args:
        library: paths, globs or URLs of files with molecules.
        reading: how the files are read.
        number: how many to choose.
        by: "coverage"; of the graph in which each molecule is connected with the 8 most similar ones, the "degree" or
            the "pagerank"; "cluster", the nearness to the centre of its cluster; "length" of the SMILES; or "random".
        student: the folder of a model, the file that it was packed into, or hf://OWNER/NAME: molecules that it is
            unsure of count for more, those near its training molecules for less, and these are not chosen. The output
            has the column `uncertainty`.
        out: a .csv, .tsv, .parquet or .jsonl file, or .sdf if the library is one.
        overwrite: whether a file that is there may be replaced.
        keeping: which columns of the library are written, too.
        only_chosen: write the first row of each chosen molecule only, the most useful first.
        seed: of the random candidates.
        progress: called as rows are read and molecules chosen.

    Raises:
        UsageError: the file cannot be written, the library has fewer molecules, or the model cannot tell how unsure it
            is.
        LibraryError: a file of the library cannot be read.
    """
    check_number("number", number, least=1)
    unsure = _unsure(by, student)  # before anything is read
    sources, path = sources_of(library, reading), placed(out)
    check_rows_output(path, sources, overwrite=overwrite)
    kept = kept_of(sources, keeping, path, reading.limit)
    with phase(progress, "reading", "rows") as running:
        pool = subset.read_pool(sources, reading.limit, running.update, unsure)
    with phase(progress, "choosing", "molecules") as running:
        chosen = subset.choose(pool, number, seed, fits_of(running), by=node_choice(by))
    with phase(progress, "writing", "rows") as running:
        limit, show = reading.limit, running.update
        subset.write(chosen, pool, sources, kept, path, limit=limit, only_chosen=only_chosen, show=show)
    return Selection(
        smiles=tuple(pool.smiles[row] for row in chosen.rows),
        molecules=len(pool.smiles),
        coverage=chosen.coverage,
        coverage_at_random=chosen.coverage_at_random,
        path=path,
    )


def _unsure(by: str, student: StrPath | None) -> Uncertainty | None:
    """Return what asks a student how unsure it is, if one is named.

    Raises:
        UsageError: molecules cannot be chosen so.
    """
    node_choice(by)
    if student is None:
        return None
    if by != "coverage":
        raise UsageError("A student's uncertainty goes with coverage: leave out --by, or --student.")
    from distill.screen.saved_model import SavedModel
    from distill.screen.uncertainty import Uncertainty

    return Uncertainty(SavedModel(placed(student)))


def prepare(
    library: Library,
    *,
    reading: LibraryConfig,
    out: StrPath,
    overwrite: bool = False,
    descriptors: str = "lean",
    ray: str | None = None,
    progress: ProgressCallback | None = None,
) -> Prepared:
    """Describe all molecules of a library once, for `distill` to learn from; the same call goes on where it stopped.

    Args:
        library: paths, globs or URLs of files with molecules.
        reading: how the files are read.
        out: a folder, which machines of a cluster reach by the same path.
        overwrite: whether a library that was prepared of other files may be replaced.
        descriptors: that stand beside the fingerprint: `all`, `lean`, `estimated` or `none`, as the student's.
        ray: address of a Ray cluster; by default RAY_ADDRESS, or a local one.
        progress: called as rows are done.

    Raises:
        UsageError: the folder holds something else, or there are no such descriptors.
        LibraryError: a file of the library cannot be read.
        NoMoleculeError: no row holds a molecule.
        OutputError: the disk is full.
    """
    chosen = descriptor_set(descriptors)
    sources, folder = sources_of(library, reading), placed(out)
    check_place(folder, plan_of(sources, chosen, reading.limit), overwrite=overwrite)
    with started_ray(ray, progress) as session, phase(progress, "preparing", "rows") as running:
        return prepare_shards(
            sources,
            folder,
            descriptors=chosen,
            limit=reading.limit,
            session=session,
            overwrite=overwrite,
            show=running.update,
        )


def embed(
    library: StrPath,
    *,
    encoder: str = "minilm",
    spec_id: str | None = None,
    store: StrPath | None = None,
    ray: str | None = None,
    progress: ProgressCallback | None = None,
) -> Embedded:
    """Embed the annotations of a prepared library's molecules, for `pretrain` and language teachers; resumable.

    A later call embeds what has been annotated since, and nothing twice.

    Args:
        library: the folder of a prepared library, where the embeddings are kept, too.
        encoder: text encoder: `minilm`, a Hugging Face id, or a folder.
        spec_id: the spec of the annotations, or the beginning of its id.
        store: that has the annotations.
        ray: address of a Ray cluster; by default RAY_ADDRESS, or a local one.
        progress: called as molecules are done.

    Raises:
        UsageError: there is no such library, store, spec or encoder, or the spec shows cells of a row.
        StoreError: the store cannot be reached.
        OutputError: the disk is full.
    """
    prepared = PreparedLibrary.open(placed(library))
    with open_store(store_named(store), create=False) as opened:
        spec = choose_spec(opened, spec_id)
        refuse_columns(spec)
        with started_ray(ray, progress) as session, phase(progress, "embedding", "molecules") as running:
            return embed_library(prepared, opened, spec, encoder=encoder, session=session, show=running.update)


def pretrain(
    library: StrPath,
    *,
    teacher: str = "dmpnn",
    out: StrPath,
    pretraining: PretrainConfig,
    spec_id: str | None = None,
    progress: ProgressCallback | None = None,
) -> Pretrained:
    """Pre-train a graph network on a prepared library, for `teach` to begin with; the same call goes on.

    It learns the descriptors that the library was prepared with and, of molecules that `embed` has dealt with, the
    fields of their annotations and their embeddings; and, if it is told so, which annotation is whose (the aligner).

    Args:
        library: the folder of a prepared library.
        teacher: the network: `gcn`, `gin`, `gat` or `dmpnn`.
        out: folder of the network, which workers reach by the same path.
        pretraining: what is learned, and how.
        spec_id: the spec of the annotations, or the beginning of its id, where `embed` was called for several.
        progress: called as the fit goes on.

    Raises:
        UsageError: there is no such library or network, the folder holds something else, or there is nothing to learn.
        TrainingError: the workers kept dying.
    """
    if teacher not in ARCHITECTURES:
        raise UsageError(
            f"There is no graph network '{teacher}' to pre-train: choose one of {', '.join(ARCHITECTURES)}."
        )
    prepared, folder = PreparedLibrary.open(placed(library)), placed(out)
    pretrained_models.check_place(folder)
    weights = (
        pretraining.descriptor_weight,
        pretraining.field_weight,
        pretraining.embedding_weight,
        pretraining.alignment_weight,
    )
    how = Pretraining(
        recipe=recipe(teacher),
        weights=dict(zip(GROUPS, weights, strict=True)),
        texts=TextSet.find(prepared.folder, spec_id),
        molecules=pretraining.library_molecules,
        epochs=pretraining.epochs,
        batch_size=pretraining.batch_size,
        seed=pretraining.seed,
    )
    read_as = TableConfig(smiles_column=pretraining.smiles_column)
    left_out = further_sources(pretraining.without or (), "--without", read_as)
    without = [each.key for each in unique_molecules(left_out)]
    with started_ray(pretraining.ray, progress) as session, phase(progress, "pre-training", "molecules") as running:
        resources = plan_resources(session, pretraining.workers)
        return pretrain_network(
            prepared, how, without=without, folder=folder, resources=resources, show=molecules_of(running)
        )
