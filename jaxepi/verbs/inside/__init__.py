"""Verbs that look inside a model: what its filters see, which bases and which contacts matter."""
