"""Executes a plan: the schedule of each pipeline, the stages, the federated round."""
