"""A text encoder in a folder, with random weights: as Hugging Face's libraries store one, and small."""

from __future__ import annotations

from pathlib import Path


def random_encoder(folder: Path, seed: int = 0) -> str:
    """Write an encoder that reads SMILES letter by letter, in the place of one that is there; return its name."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "c", "##c", "o", "##o"]
    (folder / "vocab.txt").write_text("\n".join(letters) + "\n")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(seed)
    BertModel(BertConfig(vocab_size=len(letters), max_position_embeddings=64, **sizes)).save_pretrained(folder)
    return str(folder)
