"""What reports say of bins and windows."""

from jaxepi.system import Words

_METRICS = {
    "pearson": "Pearson correlation of predicted and measured labels; flat: tracks of very different levels as one set",
    "spearman": "Pearson correlation of the ranks",
    "loss": "mean loss of a value: Poisson p - y log p in bins, squared error of windows",
}
WORDS = {
    "bin": Words(values="measured bins", plural="bins", headlines=("pearson", "spearman", "mse"), metrics=_METRICS),
    "window": Words(
        values="measured windows", plural="windows", one_value=True, headlines=("pearson", "spearman", "mse"),
        metrics=_METRICS,
    ),
}  # fmt: skip
