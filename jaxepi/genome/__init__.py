"""Genomes on disk: FASTA, names of chromosomes, intervals, and the text files that list them."""

from jaxepi.genome.fasta import Genome

__all__ = ["Genome"]
