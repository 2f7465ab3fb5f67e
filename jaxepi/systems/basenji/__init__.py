"""Basenji2, Basset and other networks of the Basenji programs: binned coverage from up to a megabase of sequence."""

from jaxepi.system import System, Words
from jaxepi.systems.basenji.model import Basenji, BasenjiConfig
from jaxepi.systems.basenji.task import BasenjiObjective, BasenjiTask
from jaxepi.systems.basenji.toy import toy
from jaxepi.systems.basenji.weights import WEIGHTS

SYSTEM = System(
    name="basenji",
    about="binned coverage of many tracks from up to a megabase of sequence (Basenji2, Basset, Akita)",
    datasets=("coverage",),
    model=Basenji,
    sizes=BasenjiConfig,
    task=BasenjiTask,
    objective=BasenjiObjective,
    toy=toy,
    weights=WEIGHTS,
    words={"bin": Words(plural="bins", reliability="mean measured coverage")},
)
