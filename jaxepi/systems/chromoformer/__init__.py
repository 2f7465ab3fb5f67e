"""Chromoformer: gene expression from histone marks at a promoter and its 3-D contacts."""

from jaxepi.system import System
from jaxepi.systems.chromoformer.model import Chromoformer, ChromoformerConfig
from jaxepi.systems.chromoformer.task import ChromoformerObjective, ChromoformerTask
from jaxepi.systems.chromoformer.toy import toy
from jaxepi.systems.chromoformer.weights import WEIGHTS
from jaxepi.systems.chromoformer.words import WORDS

SYSTEM = System(
    name="chromoformer",
    about="gene expression from histone marks at a promoter and its 3-D contacts",
    datasets=("chromoformer",),
    model=Chromoformer,
    sizes=ChromoformerConfig,
    task=ChromoformerTask,
    objective=ChromoformerObjective,
    toy=toy,
    weights=WEIGHTS,
    words=WORDS,
    capabilities={
        "predict_records": "jaxepi.systems.chromoformer.predict_files:predict_genes",
        "attention": "jaxepi.systems.chromoformer.attention_files:attend_genes",
    },
)
