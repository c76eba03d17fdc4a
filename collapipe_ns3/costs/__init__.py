"""What things cost: devices, optimizers, and the stages of a model, predicted and measured."""
