"""DeepCpG: methylation of single CpGs in single cells from sequence and neighbouring sites."""

from jaxepi.system import System
from jaxepi.systems.deepcpg.model import DeepCpG, DeepCpGConfig
from jaxepi.systems.deepcpg.task import DeepCpGObjective, DeepCpGTask
from jaxepi.systems.deepcpg.toy import toy
from jaxepi.systems.deepcpg.weights import WEIGHTS

SYSTEM = System(
    name="deepcpg",
    about="DNA methylation of single CpGs in single cells, from sequence and neighbouring sites",
    datasets=("deepcpg",),
    model=DeepCpG,
    sizes=DeepCpGConfig,
    task=DeepCpGTask,
    objective=DeepCpGObjective,
    toy=toy,
    weights=WEIGHTS,
    capabilities={"impute": "jaxepi.systems.deepcpg.impute:impute_files"},
)
