"""Experiments: each file has `get_config(variant)`; its header is a contract. See configs/base.py for every field."""
