"""What the verbs do with a run and its dataset, as functions: evaluation, cross-validation, work on single sites."""
