"""What reports say of genes."""

from jaxepi.system import Words

WORDS = {
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
