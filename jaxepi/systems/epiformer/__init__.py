"""Epiformer: chromatin accessibility in bins from 98 kb of sequence and its conservation."""

from jaxepi.system import System, Words
from jaxepi.systems.epiformer.model import Epiformer, EpiformerConfig
from jaxepi.systems.epiformer.task import EpiformerObjective, EpiformerTask
from jaxepi.systems.epiformer.toy import toy
from jaxepi.systems.epiformer.weights import WEIGHTS

SYSTEM = System(
    name="epiformer",
    about="chromatin accessibility in bins from 98 kb of sequence and its conservation",
    datasets=("coverage",),
    model=Epiformer,
    sizes=EpiformerConfig,
    task=EpiformerTask,
    objective=EpiformerObjective,
    toy=toy,
    weights=WEIGHTS,
    words={"bin": Words(plural="bins", reliability="mean measured coverage")},
    capabilities={"attention": "jaxepi.systems.epiformer.attention_files:attend_windows"},
)
