"""Prepared datasets to batches: reading without TensorFlow, order, sharding over hosts, prefetch to devices."""

from jaxepi.data.dataset import Dataset, Split, open_dataset
from jaxepi.data.device import DeviceBatches, check_batch, check_batch_size, device_batches
from jaxepi.data.order import Order
from jaxepi.data.stream import BatchStream

__all__ = [
    "BatchStream",
    "Dataset",
    "DeviceBatches",
    "Order",
    "Split",
    "check_batch",
    "check_batch_size",
    "device_batches",
    "open_dataset",
]
