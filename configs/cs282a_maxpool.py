"""CS282A, max-pool perceptron: LMNB1 and CpG methylation of windows of 114,688 bp from the embeddings of Basenji2.

Paper     as configs/cs282a_linear.py
Data      as configs/cs282a_linear.py, with one label a window:
          python -m data_prep embeddings --embeddings embeddings/human --labels labels/human --resolution window
          --out data/cs282a_windows
Run       python launch.py --config configs/cs282a_maxpool.py --workdir runs/cs282a_maxpool
Hardware  one GPU of any size, or a CPU: 0.8 M parameters.
Expected  Validation MSE 567.9, Pearson 0.944, Spearman 0.912 after the fourth epoch, the best (the original's). Metric:
          pearson_window_flat and spearman_window_flat = over all windows and tracks as one set, which is far above the
          correlation of a track (pearson_window_per_track_mean), as the levels of the tracks differ.

Variants  as configs/cs282a_linear.py
"""

from ml_collections import ConfigDict

from configs import cs282a_conv


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `--config configs/cs282a_maxpool.py:sample` chooses a variant."""
    config = cs282a_conv.get_config(variant)
    config.model.head = "maxpool"
    return config
