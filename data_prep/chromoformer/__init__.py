"""Genes with the read depth at their promoter and its contacts."""
