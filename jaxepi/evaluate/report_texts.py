"""What the report says about each metric and each figure."""

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
