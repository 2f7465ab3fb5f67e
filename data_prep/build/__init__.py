"""How any dataset is built: recipe, blocks, workers, the folder that appears whole."""
