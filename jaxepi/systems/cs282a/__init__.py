"""CS282A: LMNB1 and CpG methylation from the embeddings of a sequence model, by four heads."""

from jaxepi.system import System
from jaxepi.systems.cs282a.model import Cs282a, Cs282aConfig
from jaxepi.systems.cs282a.task import Cs282aObjective, Cs282aTask
from jaxepi.systems.cs282a.toy import toy
from jaxepi.systems.cs282a.weights import WEIGHTS
from jaxepi.systems.cs282a.words import WORDS

SYSTEM = System(
    name="cs282a",
    about="tracks in bins or of windows from the embeddings of a sequence model, by four kinds of head",
    datasets=("embeddings", "coverage"),
    model=Cs282a,
    sizes=Cs282aConfig,
    task=Cs282aTask,
    objective=Cs282aObjective,
    toy=toy,
    weights=WEIGHTS,
    words=WORDS,
)
