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
# # Link state, SINR and power
#
# Before each round the planner is shown what was measured on each link. This notebook looks at
# these measurements, at what the transfers then met, and at the powers that the plan chose.

# %%
# !collapipe-ns3 compare quickstart --seeds 0,1 --rounds 3 --out runs/campaign

# %%
# %matplotlib inline
from analysis import figures, load

runs = load("runs/campaign")
where = {"scheme": "collapipe", "seed": 0}

# %% [markdown]
# ## Where the nodes are
#
# The map shows the plan of a round: the devices of each pipeline in their order, and the links of
# the plan with their SINR.

# %%
figures.draw("map", runs, run="collapipe-seed0")

# %% [markdown]
# ## What the planner was shown
#
# Gains are received over radiated power, antennas included. `interference_dbm_hz` is the density
# of noise plus interference.

# %%
links = runs.table("links", where={**where, "round": 2})
links[["src", "dst", "gain_db", "interference_dbm_hz", "sinr_db", "goodput_bps", "age_s"]].head(8)

# %% [markdown]
# ## What the transfers met
#
# The SINR of a transfer is its mean over all receptions, weighted by airtime.

# %%
columns = ["src", "dst", "kind", "sinr_db", "tx_power_dbm", "bandwidth_hz", "retransmissions"]
transfers = runs.table("transfers", columns=columns, where=where)
met = transfers[transfers["kind"] != "sounding"].groupby(["src", "dst"], observed=True)
met[["sinr_db", "tx_power_dbm", "retransmissions"]].mean().sort_values("sinr_db").head(8)

# %%
figures.draw("distributions", runs)

# %% [markdown]
# ## SINR and goodput
#
# The curve is what planners assume of a transfer that has the whole band. Points below it are
# transfers that shared the band, waited for a grant, or were sent again.

# %%
figures.draw("goodput", runs)

# %% [markdown]
# ## Less power
#
# With half of the power (−3 dB) the SINR falls by 3 dB where noise, not interference, limits it.
# `plan` measures the links anew, without any training.

# %%
from collapipe_ns3 import Study

for power_dbm in (20, 17, 14):
    devices = [f"clusters[{c}].devices[{d}]" for c in (0, 1) for d in (0, 1, 2)]
    study = Study.load("quickstart", set={f"{key}.tx_power_dbm": power_dbm for key in devices})
    plan = study.plan()
    powers = {link.tx_power_w for link in plan.links if link.src == "c0.d0"}
    print(f"{power_dbm} dBm at most: planned power of c0.d0 {max(powers) * 1e3:.0f} mW")
