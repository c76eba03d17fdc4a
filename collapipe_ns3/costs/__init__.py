"""Devices, optimizers, and the costs of a model's stages, predicted and measured."""
