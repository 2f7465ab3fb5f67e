"""What the report says about each metric and each figure, and what it calls the things that were evaluated."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Words:
    """How a report calls what was evaluated."""

    records: str = "windows"
    values: str = "measured values"
    plural: str = "values"  # what a plot counts
    reliability: str = "mean measured"  # axis of the reliability curve
    one_value: bool = False  # a record holds a single value
    classes: tuple[str, str] = ("measured as 0", "measured as 1")
    headlines: tuple[str, ...] = ("pearson", "auc", "mae")  # the values on top
    class_headlines: tuple[str, ...] = ("pearson", "auc", "mae")  # the same where targets have classes
    figures: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)  # instead of those of ABOUT
    metrics: dict[str, str] = dataclasses.field(default_factory=dict)  # instead of those of METRICS


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
        "reach.",
    ),
    "density": (
        "Predicted against measured",
        "How many values fall on each pair of measured and predicted value (logarithmic colour; dashed: equality).",
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

# Region, the middle of the metrics' names -> its words.
_WORDS = {
    "gene": Words(
        records="genes",
        values="of known expression",
        plural="genes",
        reliability="share with high expression",
        one_value=True,
        classes=("low expression", "high expression"),
        headlines=("pearson", "spearman", "r2", "mse"),
        class_headlines=("auc", "average_precision", "accuracy"),
        figures={
            "density": (
                "Predicted against measured expression",
                "Each point is a gene; of many genes, how many fall on each pair of measured and predicted expression "
                "(logarithmic colour). Dashed: equality. r2 is 1 - squared error / variance of the measured "
                "expression, so it falls below 0 where the mean would have been the better prediction.",
            ),
            "classes": (
                "Predicted probabilities of low and high genes",
                "How the predicted probability of high expression is spread over genes whose expression is below the "
                "median of the cell type, and over those at or above it; each class adds up to one.",
            ),
            "reliability": (
                "Reliability",
                "Share of genes with high expression among all whose predicted probability falls into a bin; on the "
                "dashed line probabilities are calibrated. Below: how many genes each bin holds.",
            ),
            "roc_pr": (
                "ROC and precision-recall",
                "Positive is a gene with high expression, at or above the median of the cell type. Dashed: chance.",
            ),
        },
        metrics={
            "pearson": "Pearson correlation of prediction and measured expression, or class",
            "spearman": "Pearson correlation of the ranks",
            "auc": "area under the ROC curve; genes with high expression are positive (20 480 bins, ties count half)",
            "auc_sampled": "the same by ranks, without bins",
            "average_precision_sampled": "the same with one threshold a gene",
            "accuracy": "share of genes on the right side of 0.5",
            "tpr": "share of genes with high expression predicted above 0.5",
            "tnr": "share of genes with low expression predicted at most 0.5",
            "precision": "share of genes with high expression among those predicted above 0.5",
            "r2": "1 - squared error / variance of the measured values",
            "loss": "mean validation loss of a gene",
        },
    ),
}


def words_of(region: str) -> Words:
    """The words for a region; unknown ones are told as windows with values."""
    return _WORDS.get(region, Words())


def headlines(region: str, has_classes: bool) -> tuple[str, ...]:
    """The values that matter most, in order."""
    words = words_of(region)
    return words.class_headlines if has_classes else words.headlines


def describe_metrics(region: str) -> dict[str, str]:
    """Value -> what it is, in the order of the table."""
    return METRICS | words_of(region).metrics


def describe_figures(region: str) -> dict[str, tuple[str, str]]:
    """Figure -> title and caption."""
    return ABOUT | words_of(region).figures
