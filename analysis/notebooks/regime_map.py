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
# # A regime map
#
# Which scheme is better depends on the network. A regime map shows it over two keys of the study:
# here the bandwidths of the D2D and the D2E band. `--grid` varies a key, and two grids give all
# combinations.
#
# Two values of each, one seed and one round keep this notebook short.

# %%
# !collapipe-ns3 compare quickstart --schemes titanic,collapipe --seeds 1 --rounds 1 \
#     --grid radio.d2d.bandwidth_hz=5e6,20e6 --grid radio.d2e.bandwidth_hz=5e6,20e6 \
#     --out runs/regimes

# %% [markdown]
# Each key of the grid is a column of every table.

# %%
# %matplotlib inline
from analysis import figures, load

runs = load("runs/regimes")
rounds = runs.table("rounds")
keys = ["radio.d2d.bandwidth_hz", "radio.d2e.bandwidth_hz"]
rounds.pivot_table(index=keys, columns="scheme", values="duration_s", observed=True)

# %% [markdown]
# ## The map
#
# Each cell has the end-to-end delay of a round.

# %%
figures.draw("grid", runs, metric="round_s")

# %% [markdown]
# ## Where is CollaPipe faster, and by how much?

# %%
wide = rounds.pivot_table(index=keys, columns="scheme", values="duration_s", observed=True)
(100 * (wide["collapipe"] / wide["titanic"] - 1)).round(1).unstack()
