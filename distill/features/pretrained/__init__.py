"""Networks that others have pre-trained: where their weights are, what they have seen, what they say of molecules."""
