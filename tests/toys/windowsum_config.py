"""The toy system of docs/extending.md.

Data      made up: tests/toys/windowsum_recipe.py
Run       python launch.py --config tests/toys/windowsum_config.py --workdir runs/windowsum
Hardware  any; seconds
Expected  pearson_bin_per_track_mean above 0.9: Pearson over all bins of the split, mean over both tracks
"""

from ml_collections import ConfigDict

from configs.base import get_base
from jaxepi.config import section_of
from toys.windowsum import SYSTEM


def get_config() -> ConfigDict:
    """The experiment."""
    config = get_base()
    config.system = SYSTEM.name
    config.model = section_of(SYSTEM.sizes)
    config.task = section_of(SYSTEM.objective)
    config.dataset.path = "data/windowsum"
    config.batch_size = config.eval_batch_size = 16
    config.steps, config.eval_every, config.log_every = 120, 60, 20
    config.optimizer.learning_rate, config.optimizer.schedule = 3e-2, "cosine"
    return config
