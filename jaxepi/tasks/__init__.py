"""One file per system: what its records hold, how they become inputs and targets on device, loss and metrics."""

from jaxepi.systems.registry import make_task
from jaxepi.task import Task

__all__ = ["Task", "make_task"]
