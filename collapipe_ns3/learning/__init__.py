"""What is learned: the model, cut where the network runs through it, the task and its data."""
