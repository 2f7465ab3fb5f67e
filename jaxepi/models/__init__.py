"""Architectures only: pure modules `(x) -> outputs`, sizes from a frozen dataclass, no input or output."""
