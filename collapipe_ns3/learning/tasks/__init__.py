"""The tasks on text that a study names: translation, entity recognition, classification.

Importing them needs neither torch nor the libraries of tokenizers and models.
"""
