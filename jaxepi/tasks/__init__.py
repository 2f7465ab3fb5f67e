"""One file per system: what its records hold, how they become inputs and targets on device, loss and metrics."""

from jaxepi.tasks.base import Task, make_task

__all__ = ["Task", "make_task"]
