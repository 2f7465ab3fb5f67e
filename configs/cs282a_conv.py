"""CS282A, conv perceptron: LMNB1 and CpG methylation of windows of 114,688 bp from the embeddings of Basenji2.

Paper     as configs/cs282a_linear.py
Data      as configs/cs282a_linear.py, with one label a window:
          python -m data_prep embeddings --embeddings embeddings/human --labels labels/human --resolution window
          --out data/cs282a_windows
Run       python launch.py --config configs/cs282a_conv.py --workdir runs/cs282a_conv
Hardware  one GPU of any size, or a CPU: 8.8 M parameters, of which every bin and channel has its own.
Expected  Validation MSE 490.5, Pearson 0.951, Spearman 0.923 after the third epoch, the best (the original's). Metric:
          pearson_window_flat and spearman_window_flat = over all windows and tracks as one set, which is far above the
          correlation of a track (pearson_window_per_track_mean), as the levels of the tracks differ.

Variants  as configs/cs282a_linear.py
"""

from ml_collections import ConfigDict

from configs import cs282a_linear


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `--config configs/cs282a_conv.py:sample` chooses a variant."""
    config = cs282a_linear.get_config(variant)
    config.model.head = "conv"
    if variant in ("paper", "modern"):
        config.dataset.path = "data/cs282a_windows"
        config.dataset.command = (
            "python -m data_prep embeddings --embeddings embeddings/human --labels labels/human --resolution window "
            "--out data/cs282a_windows"
        )
    if variant in ("sample", "smoke"):
        config.optimizer.learning_rate = 1e-2
    if variant == "paper":
        config.task.truncate_labels = False
        # A batch with a label that is no number moves only the last layer's weights of the other tracks.
        config.task.nan_labels = "nan_to_num_grads"
        config.steps = 5
        config.optimizer.learning_rate, config.optimizer.b1 = 5e-6, 0.8
        config.monitor, config.report_checkpoint = "mse_window_flat", "best"  # saved whenever it improves
    return config
