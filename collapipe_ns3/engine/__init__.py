"""Executes a plan over a network, on the network's clock.

- `round` runs the plan's pipelines side by side, and averages their models;
- `pipeline_run` executes one pipeline in a round: broadcast, local steps, gather, upload;
- `exchange_run` sends parameters and optimizer states as the plan's exchange says;
- `pipeline_step` executes the schedule of one local step, and sends micro-batches between stages;
- `stage_worker` computes: the forward and backward passes of one stage;
- `site` makes transfers, charges the time of computations, and keeps the log of both;
- `deadline` says which pipelines are late, `late_work` is what they have trained, and `late_run`
  sends what is missing of it in later rounds;
- `presence` says which nodes are there and which links can be used, by the run's faults;
- `air` is the wire format of activations and gradients, and their distortion;
- `state` is what lasts from round to round: the global model and the optimizers;
- `usage` counts the memory and energy of every node in a round.
"""
