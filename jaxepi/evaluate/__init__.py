"""Metrics as mergeable masked sums, streaming evaluation, plots and the report."""
