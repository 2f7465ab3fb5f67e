"""The blocks of a network as modules: of sequences, of pairs of bins, back to finer bins, and attention."""
