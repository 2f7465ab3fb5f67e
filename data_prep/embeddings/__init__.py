"""Embeddings of windows with their labels, for heads that are trained on a frozen trunk."""
