"""DeepCpG: methylation of single CpGs in single cells from sequence and neighbouring sites."""
