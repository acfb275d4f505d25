import numpy as np
import pytest
import torch
from rdkit import Chem
from torch_geometric.nn import GATv2Conv, GCNConv, GINEConv, global_mean_pool
from torch_geometric.utils import from_rdmol
from torch_geometric.utils.smiles import e_map, x_map

from teacher.nn.graph_features import ATOM_VALUES, BOND_VALUES
from teacher.nn.graphs import Graphs
from teacher.nn.inputs import Matrix, Tokens
from teacher.nn.registry import ARCHITECTURES
from teacher.tiny import library


@pytest.fixture(scope="module")
def mols() -> list[Chem.Mol]:
    odd = ["[Na+].[Cl-]", "[He]", "C", "C/C=C\\C", "F[P-](F)(F)(F)(F)F", "[U+6]", "O=[V](=O)O", "C[C@H](N)O"]
    return [Chem.MolFromSmiles(smiles) for smiles in [*odd, *library.read(None)[:200]]]


@pytest.fixture(scope="module")
def graphs(mols: list[Chem.Mol]) -> Graphs:
    return Graphs.of(mols)


def test_the_values_of_features_are_numbered_as_pyg_does() -> None:
    assert {name: list(values) for name, values in ATOM_VALUES.items()} == x_map
    assert {name: list(values) for name, values in BOND_VALUES.items()} == e_map


def test_features_are_those_of_pyg(mols: list[Chem.Mol], graphs: Graphs) -> None:
    for row, mol in enumerate(mols):
        theirs, ours = from_rdmol(mol), graphs.batch(np.array([row]))
        order = (ours.edge_index[0] * mol.GetNumAtoms() + ours.edge_index[1]).argsort()
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(ours.edge_index[:, order], theirs.edge_index)
        assert torch.equal(ours.edge_attr[order], theirs.edge_attr)


def test_what_pyg_does_not_know_is_still_a_graph() -> None:
    mols = [Chem.MolFromSmiles(smiles) for smiles in ("[W+7]", "[Fe-6]")]
    assert Graphs.of(mols).batch(np.arange(2)).x[:, 3].tolist() == [11, 0]


def test_the_two_directions_of_a_bond_stand_beside_one_another(graphs: Graphs) -> None:
    ends = graphs.batch(np.arange(len(graphs))).edge_index
    assert torch.equal(ends[:, 0::2].flip(0), ends[:, 1::2])


def test_a_batch_of_taken_rows_is_the_batch_of_those_rows(graphs: Graphs) -> None:
    rows = np.array([7, 3, 120, 3])
    taken, whole = graphs.take(rows).batch(np.array([2, 0])), graphs.batch(np.array([120, 7]))
    assert torch.equal(taken.x, whole.x) and torch.equal(taken.edge_index, whole.edge_index)
    assert torch.equal(taken.edge_attr, whole.edge_attr) and torch.equal(taken.batch, whole.batch)


def test_texts_are_padded_to_the_longest_of_the_batch() -> None:
    tokens = Tokens.of([[5, 6, 7], [8], [9, 9]], padding=0)
    batch = tokens.take(np.array([2, 0, 1])).batch(np.array([2, 0]))
    assert batch.input_ids.tolist() == [[8, 0], [9, 9]]
    assert batch.attention_mask.tolist() == [[True, False], [True, True]]


def test_a_matrix_gives_its_rows() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert Matrix(values).take(np.array([2, 1])).batch(np.array([0])).tolist() == [[4.0, 5.0]]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_molecule_is_predicted_the_same_in_any_company(name: str, graphs: Graphs) -> None:
    torch.manual_seed(0)
    known = ARCHITECTURES[name]
    network = known.build(2, **known.settings).eval()
    with torch.inference_mode():
        alone, _ = network(graphs.batch(np.array([40])))
        together, representation = network(graphs.batch(np.arange(30, 60)))
    assert together.shape == (30, 2) and len(representation) == 30
    assert torch.allclose(alone[0], together[10], atol=1e-5)


@pytest.mark.parametrize("name", ["gin", "gat", "dmpnn"])
def test_bonds_matter(name: str) -> None:
    torch.manual_seed(0)
    known = ARCHITECTURES[name]
    network = known.build(1, **known.settings).eval()
    with torch.inference_mode():
        butene, isomer = network(Graphs.of(list(map(Chem.MolFromSmiles, ("C/C=C/C", "C/C=C\\C")))).batch(np.arange(2)))[
            0
        ]
    assert not torch.allclose(butene, isomer)


def test_gcn_is_that_of_pyg(graphs: Graphs) -> None:
    torch.manual_seed(0)
    ours = ARCHITECTURES["gcn"].build(1, width=8, layers=1, dropout=0.0)
    theirs = GCNConv(9, 8)
    theirs.load_state_dict(ours.layers[0].state_dict())
    batch = graphs.batch(np.arange(20))
    pooled = global_mean_pool(theirs(batch.x.float(), batch.edge_index), batch.batch)
    assert torch.allclose(ours(batch)[1], pooled, atol=1e-5)


def test_gin_is_that_of_pyg(graphs: Graphs) -> None:
    torch.manual_seed(0)
    ours = ARCHITECTURES["gin"].build(1, width=8, layers=1, dropout=0.0)
    theirs = GINEConv(ours.layers[0].nn)
    batch = graphs.batch(np.arange(20))
    atoms, bonds = ours.norms[0](ours.atom(batch.x)), ours.bond(batch.edge_attr)
    assert torch.allclose(ours.layers[0](atoms, batch.edge_index, bonds), theirs(atoms, batch.edge_index, bonds))


def test_gat_is_that_of_pyg(graphs: Graphs) -> None:
    torch.manual_seed(0)
    ours = ARCHITECTURES["gat"].build(1, width=8, layers=1, dropout=0.0, heads=2)
    theirs = GATv2Conv(8, 4, heads=2, edge_dim=8)
    theirs.load_state_dict(ours.layers[0].state_dict())
    batch = graphs.batch(np.arange(20))
    atoms, bonds = ours.norms[0](ours.atom(batch.x)), ours.bond(batch.edge_attr)
    heard = theirs(atoms, batch.edge_index, bonds)
    assert torch.allclose(ours.atoms(batch), ours.norms[-1](ours.atom(batch.x) + torch.relu(heard)), atol=1e-5)


def test_a_bond_of_the_dmpnn_hears_from_those_that_enter_its_atom_but_not_from_its_other_direction() -> None:
    torch.manual_seed(0)
    network = ARCHITECTURES["dmpnn"].build(1, width=8, layers=2, dropout=0.0)
    batch = Graphs.of([Chem.MolFromSmiles("CC(=O)N1CC1"), Chem.MolFromSmiles("[Cl-]")]).batch(np.arange(2))
    bonds = list(enumerate(batch.edge_index.T.tolist()))
    atom, bond = network.atom(batch.x), network.bond(batch.edge_attr)
    start = torch.stack([network.first(torch.cat([atom[leaves], bond[number]])) for number, (leaves, _) in bonds])
    message = torch.relu(start)
    for _ in range(2):  # eqs. 3 to 6, bond by bond
        heard = [
            sum((message[other] for other, (begin, end) in bonds if end == leaves and begin != enters), torch.zeros(8))
            for _, (leaves, enters) in bonds
        ]
        message = torch.relu(start + network.update(torch.stack(heard)))
    arrived = torch.stack(
        [sum((message[number] for number, (_, end) in bonds if end == place), torch.zeros(8)) for place in range(7)]
    )
    assert torch.allclose(
        network.atoms(batch), torch.relu(network.gather(torch.cat([atom, arrived], dim=1))), atol=1e-6
    )
