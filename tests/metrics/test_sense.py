import pytest

from jaxepi.errors import JaxepiError
from jaxepi.metrics.sense import SENSE, sense
from jaxepi.report.words import METRICS


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("loss_gene_flat", "min"),
        ("loss_total", "min"),
        ("mae_cpg_per_track_mean", "min"),
        ("auc_cpg_per_track_mean", "max"),
        ("auc_sampled_cpg_flat", "max"),
        ("average_precision_sampled_cpg_flat", "max"),
        ("r2_gene_per_track_mean", "max"),
    ],
)
def test_the_value_decides(metric, expected):
    assert sense(metric) == expected


@pytest.mark.parametrize(
    "metric", ["bias_cpg_flat", "mean_target_gene_flat", "auc_cpg_per_track_sd", "auc_cpg_n_tracks", "losses", ""]
)
def test_what_has_no_sense_is_told_with_what_has(metric):
    with pytest.raises(JaxepiError, match=f"config.monitor is '{metric}'.*pearson, spearman.*loss, mae, mse, ece"):
        sense(metric)


def test_every_value_of_the_report_has_a_sense_or_is_known_to_have_none():
    assert set(METRICS) - set(SENSE) == {"bias", "mean_prediction", "mean_target"} and set(SENSE) <= set(METRICS)
