"""Hosts, devices, the mesh and where arrays lie on it."""
