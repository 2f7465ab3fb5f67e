"""Windows of sequence with methylation per CpG and track."""
