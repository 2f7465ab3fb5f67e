"""Readers of raw files: genomes, tracks, tables, annotations, and the checks before work starts."""
