"""Windows of sequence with binned coverage of many tracks, as Basenji and its kin are trained on."""
