"""One space for graphs and texts, in which what belongs together is near: CLIP's loss, for molecules.

The network of molecules gives a vector of each, a frozen encoder one of each text, and a linear map brings the text's
into the space of the molecules'. The symmetric InfoNCE loss with a learned temperature (CLIP, Radford et al.,
arXiv 2103.00020, fig. 3; between molecules and texts MoMu, arXiv 2209.05481, and MoleculeSTM, arXiv 2212.10789) asks of
each molecule which of a step's texts is its own, and of each text which of the molecules.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

SHARED_WIDTH = 256  # of the space, as in MoleculeSTM
FIRST_TEMPERATURE, LEAST_TEMPERATURE = 0.07, 0.01  # as in CLIP
IDENTITY = 2  # columns that tell texts apart (`contrast`)


class SharedSpace(nn.Module):
    """The texts' way into the space, and the temperature.

    Args:
        width: of a text's vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.texts = nn.Linear(width, SHARED_WIDTH, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / FIRST_TEMPERATURE)))

    def of_graphs(self, vectors: Tensor) -> Tensor:
        """Return molecules' vectors (N, `SHARED_WIDTH`) with length 1 / temperature."""
        longest = math.log(1 / LEAST_TEMPERATURE)
        return normalize(vectors, dim=1) * self.log_scale.clamp(max=longest).exp()

    def of_texts(self, vectors: Tensor) -> Tensor:
        """Return texts' vectors (N, width) in the space, with length 1: (N, `SHARED_WIDTH`)."""
        return normalize(self.texts(vectors), dim=1)


def contrast(graphs: Tensor, texts: Tensor, identity: Tensor, known: Tensor, mine: slice) -> Tensor:
    """Return the symmetric InfoNCE loss of some of a step's molecules, each among all of them.

    A molecule whose text is word for word the same is no wrong answer, and left out of the choice; so is one that has
    no text.

    Args:
        graphs: (N, D), of length 1 / temperature.
        texts: (N, D), of length 1.
        identity: (N, `IDENTITY`), the same for texts that are the same.
        known: bool, (N), whether a molecule has a text.
        mine: the rows whose losses are wanted, from one number to another.

    Returns:
        Of these rows the mean of both directions; 0 of molecules without a text.
    """
    own = torch.arange(mine.start, mine.stop, device=graphs.device)[:, None]
    same = (identity[mine, None] == identity[None]).all(dim=2)
    left_out = (same | ~known) & (torch.arange(len(graphs), device=graphs.device) != own)
    losses = torch.zeros(len(own), device=graphs.device)
    for asked, answers in ((graphs, texts), (texts, graphs)):
        logits = (asked[mine] @ answers.T).masked_fill(left_out, -math.inf)
        losses = losses + (logits.logsumexp(dim=1) - logits.gather(1, own).squeeze(1)) / 2
    return torch.where(known[mine], losses, torch.zeros_like(losses))
