"""From texts to batches of tokens, and metrics of predicted texts, tags and classes."""
