"""What lies beside the shards of a prepared library: texts and their embeddings, vectors, and what teachers say."""
