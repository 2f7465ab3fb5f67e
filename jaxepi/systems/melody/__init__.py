"""Melody ST and MT: DNA methylation at single CpGs from 10 kb of sequence."""

from jaxepi.system import System
from jaxepi.systems.melody.model import Melody, MelodyConfig
from jaxepi.systems.melody.task import MelodyObjective, MelodyTask
from jaxepi.systems.melody.toy import toy
from jaxepi.systems.melody.weights import WEIGHTS

SYSTEM = System(
    name="melody",
    about="DNA methylation at single CpGs from 10 kb of sequence",
    datasets=("melody",),
    model=Melody,
    sizes=MelodyConfig,
    task=MelodyTask,
    objective=MelodyObjective,
    toy=toy,
    weights=WEIGHTS,
)
