"""The network of a study: its nodes, radios and media, and how ns-3 builds it."""
