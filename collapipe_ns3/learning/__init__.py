"""The split model, the learning task with its data, and aggregation."""
