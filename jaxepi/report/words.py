"""What the report says about each metric and each figure, and what it calls the things that were evaluated."""

from jaxepi.evaluate.result import EvalResult
from jaxepi.registry import get_system, known_systems
from jaxepi.system import Words

# Value -> what it is; the order is that of the table.
METRICS = {
    "pearson": "Pearson correlation of predicted and measured values",
    "spearman": "Pearson correlation of the ranks, on the sampled positions",
    "kendall": "Kendall's tau-b, on the sampled positions",
    "auc": "area under the ROC curve, measured value above 0.5 is positive (20 480 bins, ties count half)",
    "auc_sampled": "the same by ranks, on the sampled positions",
    "average_precision": "precision averaged over the gains in recall",
    "average_precision_sampled": "the same with one threshold a value, on the sampled positions",
    "accuracy": "share of values on the right side of 0.5",
    "tpr": "share of positives predicted above 0.5",
    "tnr": "share of negatives predicted at most 0.5",
    "precision": "share of positives among the values predicted above 0.5",
    "f1": "harmonic mean of precision and true positive rate",
    "mcc": "Matthews correlation of predicted and measured class",
    "loss": "mean validation loss",
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "r2": "1 - squared error / variance of the measured values",
    "bias": "mean of predicted - measured",
    "ece": "expected calibration error: mean distance of the reliability curve from the diagonal",
    "mean_prediction": "mean predicted value",
    "mean_target": "mean measured value",
}

# Figure -> title and caption.
ABOUT = {
    "loss_curves": (
        "Training",
        "Left: training loss and its weighted terms (light: every logged step, dark: running median). "
        "Right: the watched metric on held-out data.",
    ),
    "per_track": (
        "Per track",
        "Tracks sorted by Pearson correlation. An orange tick, where there is one, is the best that any model can "
        "reach. An axis of R2 begins at -1.",
    ),
    "density": (
        "Predicted against measured",
        "How many values fall on each pair of measured and predicted value (logarithmic colour; dashed: equality). "
        "Where values span decades, the axes are logarithmic above the median and linear below: 0 has a place.",
    ),
    "assays": (
        "Assays",
        "The tracks of every assay: median, quartiles, and whiskers of up to one and a half times their distance; "
        "circles are single tracks, where there are few. In brackets how many tracks an assay has. R2 below -1 is "
        "drawn at -1.",
    ),
    "scatters": (
        "Single tracks",
        "Predicted against measured values of tracks from the best (top left) to the worst Pearson correlation, each "
        "on scales of its own. Dashed: equality.",
    ),
    "classes": (
        "Predictions of the two classes",
        "How the predictions of values measured as 0 and as 1 are spread; each class adds up to one.",
    ),
    "reliability": (
        "Reliability",
        "Mean measured value of all values whose prediction falls into a bin; on the dashed line predictions are "
        "calibrated. Below: how many values each bin holds.",
    ),
    "roc_pr": (
        "ROC and precision-recall",
        "Positive is a measured value above 0.5. Dark: all tracks together; light, or in colours with names: single "
        "tracks; dashed: chance.",
    ),
    "groups": (
        "Parts of the records",
        "Bars are means over tracks, circles single tracks; in brackets how many values of all tracks a part holds. A "
        "record may be in several parts, or in none.",
    ),
    "group_curves": (
        "ROC and precision-recall by part",
        "Each line takes the values of all tracks at the records of a part, in brackets how many they are; dashed: "
        "chance. On the right, chance is the share of positives, which differs between parts: it is where a line ends.",
    ),
}

# Figures of a cross-validation.
FOLD_FIGURES = {
    "fold_values": (
        "Each metric over the folds",
        "Points: held-out folds. Line and band: their mean and one standard deviation to each side. Dotted: the same "
        "metric over the predictions of all folds together.",
    ),
    "fold_curves": (
        "ROC and precision-recall of every fold",
        "Colours: held-out folds, each with its value. Black: the predictions of all folds together. Dashed: chance.",
    ),
    "fold_scatter": (
        "Predicted against measured",
        "Held-out predictions of all folds, in the colours of the folds; of many, how many fall on each pair of "
        "measured and predicted value (logarithmic colour). Dashed: equality.",
    ),
}


def words_of(result: EvalResult) -> Words:
    """How the system that was evaluated calls things; those of windows with values if it says nothing."""
    words = get_system(result.system).words if result.system in known_systems() else {}
    return words.get(result.region, Words())


def headlines(result: EvalResult) -> tuple[str, ...]:
    """The values that matter most, in order."""
    words = words_of(result)
    return words.class_headlines if result.has_classes else words.headlines


def describe_metrics(result: EvalResult) -> dict[str, str]:
    """Value -> what it is, in the order of the table."""
    return {**METRICS, **words_of(result).metrics}


def describe_figures(result: EvalResult | None = None) -> dict[str, tuple[str, str]]:
    """Figure -> title and caption."""
    return {**ABOUT, **(words_of(result).figures if result is not None else {})}
