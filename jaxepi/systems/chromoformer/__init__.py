"""Chromoformer: gene expression from histone marks at a promoter and its 3-D contacts."""
