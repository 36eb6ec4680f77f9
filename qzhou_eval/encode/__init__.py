"""Texts to vectors: tokenizing, ordering, the backbone, pooling. Knows nothing of mteb."""
