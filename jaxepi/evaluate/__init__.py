"""Evaluation of a split: the step, the stream over its records, sampled values, and the result on disk."""
