"""Melody ST and MT: DNA methylation at single CpGs from 10 kb of sequence."""
