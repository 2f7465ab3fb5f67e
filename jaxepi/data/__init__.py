"""Prepared datasets to batches: reading without TensorFlow, order, sharding over hosts, prefetch to devices."""

from jaxepi.data.dataset import Dataset, Split
from jaxepi.data.device import DeviceBatches, check_batch, check_batch_size, device_batches
from jaxepi.data.mixture import Mixture
from jaxepi.data.open import open_dataset
from jaxepi.data.order import MixtureOrder, Order, order_of
from jaxepi.data.stream import BatchStream

__all__ = [
    "BatchStream",
    "Dataset",
    "DeviceBatches",
    "Mixture",
    "MixtureOrder",
    "Order",
    "Split",
    "check_batch",
    "check_batch_size",
    "device_batches",
    "open_dataset",
    "order_of",
]
