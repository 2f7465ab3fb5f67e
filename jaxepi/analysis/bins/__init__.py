"""Predicted bins of regions: where they lie, and the files that hold them."""
