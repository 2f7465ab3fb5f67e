"""Files of weights and tensors, weight tables and strict loading; no system is named here."""
