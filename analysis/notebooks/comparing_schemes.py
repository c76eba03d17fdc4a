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
# # Comparing schemes
#
# `collapipe-ns3 compare` runs a study under several schemes and seeds. Runs with the same seed
# share the order of the data, the initial weights, the channels and the interference, so schemes
# are compared seed by seed.
#
# Three rounds and two seeds keep this notebook short; a study for a paper has more of both. If
# the command is stopped, the same command continues it, and runs that are finished are not
# repeated.

# %%
# !collapipe-ns3 compare quickstart --seeds 0,1 --rounds 3 --out runs/campaign

# %% [markdown]
# ## All runs as one set of tables

# %%
# %matplotlib inline
from analysis import figures, load

runs = load("runs/campaign")
rounds = runs.table("rounds", columns=["scheme", "seed", "round", "duration_s", "device_energy_j"])
rounds.groupby(["scheme", "seed"], observed=True)["duration_s"].mean().unstack()

# %% [markdown]
# ## Paired differences
#
# The difference of two schemes is taken within each seed, and then averaged. With two seeds the
# interval is wide: `nan` and wide intervals are honest results.

# %%
from analysis.compare import ComparedRun, compare

comparison = compare([ComparedRun("", run) for run in runs])
summary = comparison.summary.set_index(["metric", "scheme"])
summary.loc["round_s", ["mean", "ci95", "percent", "percent_ci95"]]

# %% [markdown]
# ## Figures

# %%
figures.draw("phases", runs)

# %%
figures.draw("learning", runs)

# %%
figures.draw("fronts", runs)

# %% [markdown]
# `collapipe-ns3 report runs/campaign` writes one HTML page with all figures and tables, and
# `collapipe-ns3 figure phases runs/campaign -o phases.pdf` one figure for a paper.
