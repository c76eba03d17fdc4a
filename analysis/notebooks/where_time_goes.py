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
# # Where the time of a round goes
#
# A round has phases: links are sounded, the model is broadcast, the pipelines train, parameters
# are gathered at the control units and uploaded, and the base station averages them.

# %%
# !collapipe-ns3 compare quickstart --seeds 0,1 --rounds 3 --out runs/campaign

# %%
# %matplotlib inline
from analysis import figures, load

runs = load("runs/campaign")
figures.draw("phases", runs)

# %% [markdown]
# ## One round, node by node
#
# A bar is a computation or a transfer; gaps are waits. The bubble share of a node is the fraction
# of the pipeline phase in which it does not compute.

# %%
figures.draw("timeline", runs, run="collapipe-seed0")

# %% [markdown]
# The same as numbers: how long each node computes, sends and waits.

# %%
from analysis.round_timeline import bubble_shares, round_bars

one = next(run for run in runs if run.runs[0].name == "collapipe-seed0")
bars = round_bars(one, 2)
bars["duration_s"] = bars["end_s"] - bars["start_s"]
bars.groupby(["node", "track"], observed=True)["duration_s"].sum().unstack().round(3)

# %%
bubble_shares(bars)

# %% [markdown]
# ## Which transfers take the air
#
# Airtime by kind shows what to make smaller: parameters, or activations and gradients.

# %%
columns = ["scheme", "kind", "bytes", "airtime_s"]
transfers = runs.table("transfers", columns=columns)
transfers.groupby(["scheme", "kind"], observed=True)["airtime_s"].sum().unstack().round(3)

# %% [markdown]
# ## What the planner expected
#
# DSSRA predicts each round by an event graph. Its predictions are recorded with the measurements.

# %%
predictions = runs.table("predictions", where={"scheme": "collapipe"})
of_rounds = predictions[predictions["name"] == "round"].assign(
    error=lambda t: t["predicted"] / t["measured"] - 1
)
of_rounds.groupby("quantity", observed=True)["error"].describe()[["count", "mean", "min", "max"]]

# %%
figures.draw("prediction", runs)
