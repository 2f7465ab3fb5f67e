"""Epiformer: windows that tile a genome, with conservation and peaks, or the original's chunk files, as coverage."""
