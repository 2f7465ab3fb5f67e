"""The toy system of docs/extending.md: GC content and density of CG in bins of 100 bp."""

from jaxepi.system import System
from toys.windowsum.model import WindowSum, WindowSumConfig
from toys.windowsum.task import WindowSumObjective, WindowSumTask
from toys.windowsum.toy import toy
from toys.windowsum.weights import WEIGHTS

SYSTEM = System(
    name="windowsum",
    about="GC content and density of CG in bins of 100 bp",
    datasets=("windowsum",),
    model=WindowSum,
    sizes=WindowSumConfig,
    task=WindowSumTask,
    objective=WindowSumObjective,
    toy=toy,
    weights=WEIGHTS,
)
