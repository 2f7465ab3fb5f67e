"""What one does with a trained model: predict, and later variants, mutagenesis and attribution."""
