"""Mergeable sums: made on the device, merged over batches and hosts, finalised once."""
