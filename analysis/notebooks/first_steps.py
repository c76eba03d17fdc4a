# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # First steps
#
# A study describes a network, its devices, and what they train together. This notebook runs the
# bundled study `quickstart` for three rounds, and looks at what was recorded.
#
# Six devices in two clusters learn to translate number phrases. The blocks of a Transformer's
# encoder are spread over the devices of each cluster, and trained as a pipeline over
# device-to-device (D2D) links. ns-3 simulates each packet, PyTorch trains the model, and both
# share one clock.

# %%
from collapipe_ns3 import Study

study = Study.load("quickstart", rounds=3)
print(study.config.description)

# %% [markdown]
# ## What will be done
#
# `plan` measures the links in ns-3 and lets the scheme plan the first round: which device trains
# which blocks, in how many micro-batches, and at what transmit power and bandwidth.

# %%
print(study.plan())

# %% [markdown]
# ## Run it
#
# `run` writes a directory with everything that was recorded. All randomness follows from the
# study's seed: the same study, seed and code give the same values, bit for bit.

# %%
result = study.run(out="runs/first-steps", progress=True)

# %% [markdown]
# ## Tables
#
# Every table is a pandas frame. Times are simulated seconds, energies joules. What is sent to
# several nodes at once, by multicast, has a row in `transfers` for each, with the same `group`.

# %%
columns = ["round", "duration_s", "broadcast_s", "pipeline_s", "loss", "metric", "device_energy_j"]
result.rounds[columns]

# %%
result.transfers.groupby("kind", observed=True)["bytes"].agg(["count", "sum"])

# %% [markdown]
# The phases of a round add up to its duration.

# %%
phases = ["sounding_s", "broadcast_s", "pipeline_s", "gather_s", "upload_s", "aggregate_s"]
assert (result.rounds[phases].sum(axis=1) - result.rounds["duration_s"]).abs().max() < 1e-9

# %% [markdown]
# ## Figures
#
# `analysis.load` reads one run or many, and each figure is a function of what it returns.

# %%
# %matplotlib inline
from analysis import figures, load

runs = load("runs/first-steps")
figures.draw("learning", runs)

# %% [markdown]
# The other figures are drawn in the same way:

# %%
for kind in figures.FIGURES.values():
    print(f"{kind.name:14} {kind.title}")
