"""The sense of every metric: whether a higher or a lower value is better. Keep-best and early stopping ask here."""

from jaxepi.errors import JaxepiError, did_you_mean

# value, the first part of a metric's name `<value>_<region>_<reduction>` -> max: higher is better, min: lower is
SENSE = {
    **dict.fromkeys(("pearson", "spearman", "kendall", "r2"), "max"),
    **dict.fromkeys(("auc", "auc_sampled", "average_precision", "average_precision_sampled"), "max"),
    **dict.fromkeys(("accuracy", "tpr", "tnr", "precision", "f1", "mcc"), "max"),
    **dict.fromkeys(("loss", "mae", "mse", "ece"), "min"),
}
_SPREAD = ("_per_track_sd", "_n_tracks")  # reductions that tell nothing about how good the predictions are


def sense(metric: str) -> str:
    """ "max" or "min" for a metric such as `auc_cpg_per_track_mean` or `loss_total`.

    Raises:
      JaxepiError: a value that is not known, or is neither better high nor better low.
    """
    name = metric.partition("@")[0]  # without the dataset that it is of
    fits = [value for value in SENSE if name == value or name.startswith(value + "_")]
    if not fits or name.endswith(_SPREAD):
        near = "" if fits else did_you_mean(name.split("_")[0], SENSE)
        raise JaxepiError(
            f"config.monitor is {metric!r}{near}, of which neither high nor low values are known to be better; watch a "
            f"mean or flat value of {', '.join(SENSE)}, such as auc_cpg_per_track_mean."
        )
    return SENSE[max(fits, key=len)]
