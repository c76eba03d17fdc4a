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
# # A scheme of your own
#
# A scheme plans each round: which device trains which blocks, and how data is sent. It is a class
# in a package of your own, and is found by an entry point. `docs/own-scheme.md` has the details.
#
# This one spreads the encoder over the fastest devices of each cluster. Its setting `devices` says
# how many these are.

# %%
import os
import sys
from pathlib import Path

package = Path("plugins")
package.mkdir(exist_ok=True)
(package / "fastest.py").write_text('''
from typing import Annotated

from pydantic import Field

from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan
from collapipe_ns3.schemes import Observation, Outcome
from collapipe_ns3.schemes.pipeline import equal_segments, open_links


class Fastest:
    """The encoder of each cluster on its fastest devices, in equal segments."""

    def __init__(
        self,
        devices: Annotated[int, Field(ge=1, description="The devices of a pipeline.")] = 2,
        micro_batches: Annotated[int, Field(ge=1)] = 4,
    ) -> None:
        self.devices, self.micro_batches = devices, micro_batches

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        blocks = observation.model.encoder_blocks
        clusters = []
        for number, names in enumerate(observation.devices):
            by_speed = sorted(names, key=lambda name: -observation.profiles[name].flops_per_s)
            stages = equal_segments(tuple(by_speed[: self.devices]), blocks)
            pipeline = Pipeline(stages, self.micro_batches, "1f1b")
            clusters.append(ClusterPlan(number, (pipeline,)))
        return RoundPlan(round, "fastest", tuple(clusters), open_links(observation.devices))

    def learn(self, outcome: Outcome) -> None:
        """Nothing: the plan never changes."""
''')  # fmt: skip

# %% [markdown]
# `pip install` writes the entry point of a package from its `pyproject.toml`:
#
# ```toml
# [project.entry-points."collapipe_ns3.schemes"]
# fastest = "fastest:Fastest"
# ```
#
# Here the same metadata is written by hand, so that nothing is installed into this environment.

# %%
metadata = package / "fastest-1.0.dist-info"
metadata.mkdir(exist_ok=True)
(metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fastest\nVersion: 1.0\n")
(metadata / "entry_points.txt").write_text("[collapipe_ns3.schemes]\nfastest = fastest:Fastest\n")

sys.path.insert(0, str(package.resolve()))
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(package.resolve()), os.environ.get("PYTHONPATH", "")]
)  # for the commands below

# %% [markdown]
# ## Check it
#
# `check` plans for many clusters and links, and runs a tiny study twice.

# %%
# !collapipe-ns3 check fastest

# %% [markdown]
# ## Compare it
#
# Its settings are keys of the study, checked by the types of the constructor.

# %%
from collapipe_ns3 import Study

study = Study.load("quickstart", rounds=2, scheme="fastest")
for devices in (1, 2, 3):
    one = study.with_(set={"scheme.settings.devices": devices})
    rounds = one.run(out=f"runs/fastest-{devices}").rounds
    print(f"{devices} devices: {rounds['duration_s'].mean():.3f} s a round")

# %%
# %matplotlib inline
from analysis import figures, load

figures.draw("phases", load("runs/fastest-1", "runs/fastest-2", "runs/fastest-3"))
