"""Single CpG sites with the states of single cells."""
