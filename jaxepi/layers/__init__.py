"""Blocks that several systems share, each with the numerics of the library that the originals were written in."""
