"""Predicts what a plan takes, from what was measured and learned.

- Inputs: `fleet` and `links`, arrays that `measured_links` makes from an observation and from what
  earlier rounds have shown (`knowledge`, `transfer_services`). Devices that can take part: `reach`.
- Decisions: `segments`, `radio_setting`.
- Predicted by closed forms: `round_costs`, from `stage_times`, `step_time` and `energy`;
  `round_time`; `divergence`; `memory`.
- Predicted by an event graph: `plan_timeline`, and from it `timeline_energy`.
- How far predictions were off: `training_ratios`, `energy_ratios`.
"""
