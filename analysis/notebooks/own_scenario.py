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
# # An ns-3 scenario of your own
#
# Where the radios of a study are not enough, a function of your own builds the network with
# anything that ns-3 has. It is called for each round with a `ScenarioSpec` (nodes, positions,
# clusters), and returns a `Network`. `docs/own-scenario.md` has the details.
#
# This one changes the spec: it moves the base station by 25 m. The network is then built from this
# project's radios, with all their measurements.

# %%
from pathlib import Path

Path("moved.py").write_text('''
from dataclasses import replace

from bridge.network import Network
from ns3_scenarios import network
from ns3_scenarios.scenario import ScenarioSpec


def build(spec: ScenarioSpec, metres: float = 25.0) -> Network:
    """The base station is moved by this distance in the direction x."""
    x, y, z = spec.bs.position
    return network.build(replace(spec, bs=replace(spec.bs, position=(x + metres, y, z))))
''')  # fmt: skip

# %% [markdown]
# Arguments of the function are settings of the study.

# %%
from collapipe_ns3 import Study

text = """
name: moved
rounds: 2
scheme: pipeline
scenario: {function: "moved:build", settings: {metres: 25}}
clusters:
  - cu: jetson-nano
    position: [30, 20]
    devices: [raspberry-pi-4, phone-flagship, jetson-nano]
  - cu: jetson-nano
    position: [25, 30]
    devices: [phone-midrange, raspberry-pi-4, jetson-xavier-nx]
"""
study = Study.from_yaml(text, "moved")

# %%
import analysis

for metres in (0, 200):
    moved = study.with_(set={"scenario.settings.metres": metres})
    moved.run(out=f"runs/moved-{metres}")
    rounds = analysis.load(f"runs/moved-{metres}").rounds
    print(f"{metres:3} m: upload {rounds['upload_s'].mean():.3f} s")

# %% [markdown]
# The SINR of the uplinks shows why.

# %%
for metres in (0, 200):
    links = analysis.load(f"runs/moved-{metres}").links
    uplinks = links[(links["dst"] == "bs") & (links["round"] == 1)]
    print(f"{metres:3} m: SINR {uplinks['sinr_db'].mean():.1f} dB")
