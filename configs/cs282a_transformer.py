"""CS282A, transformer: LMNB1 and CpG methylation of windows of 114,688 bp from the embeddings of Basenji2.

Paper     as configs/cs282a_linear.py
Data      as configs/cs282a_linear.py, with one label a window:
          python -m data_prep embeddings --embeddings embeddings/human --labels labels/human --resolution window
          --out data/cs282a_windows
Run       python launch.py --config configs/cs282a_transformer.py --workdir runs/cs282a_transformer
Hardware  one GPU with 8 GB: 18.9 M parameters; the correct attention along the genome holds 6 x 896 x 896 weights of
          a window (--config.model.remat=True needs less).
Expected  Validation MSE 514.8, MAE 15.3, Pearson 0.949, Spearman 0.920 after the second epoch; later ones are not
          stored (the original's). Metric:
          pearson_window_flat and spearman_window_flat = over all windows and tracks as one set, which is far above the
          correlation of a track (pearson_window_per_track_mean), as the levels of the tracks differ.

Variants  as configs/cs282a_linear.py
"""

from ml_collections import ConfigDict

from configs import cs282a_conv


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `--config configs/cs282a_transformer.py:sample` chooses a variant."""
    config = cs282a_conv.get_config(variant)
    config.model.head = "transformer"
    if variant == "paper":
        config.steps = 10
        config.optimizer.name, config.optimizer.learning_rate, config.optimizer.b1 = "adam", 1e-3, 0.9
    return config
