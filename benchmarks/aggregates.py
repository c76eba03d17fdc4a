"""The aggregates of a campaign: from its directory to the JSON file in docs/results/."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.compare import (
    ComparedRun,
    Comparison,
    TaskMetric,
    compare,
    load_campaign,
    smallest_loss,
)
from analysis.paper_claims import claim_results
from benchmarks.campaigns import Campaign
from collapipe_ns3.campaign import parse_seeds

PAPER = {
    "title": "CollaPipe",
    "source": "arXiv 2509.19855",
    "url": "https://arxiv.org/abs/2509.19855",
}


class NotTheCampaign(ValueError):
    """A directory whose runs are not those of the campaign."""


def of_directory(campaign: Campaign, directory: Path) -> dict[str, Any]:
    """The aggregates of a finished campaign in this directory, as its file has them.

    Raises `NotTheCampaign` where schemes, seeds or rounds of the runs are not the campaign's, and
    `NotARun`, `NotWhole` or `OSError` where a run is missing or damaged.
    """
    names = json.loads((directory / "campaign.json").read_text())["cells"]
    runs = load_campaign(directory, dict.fromkeys(names, ""))
    _examine(campaign, runs)
    found = of_comparison(compare(runs))
    metric = TaskMetric.of(runs[0].run)
    manifests = [each.run.manifest for each in runs]
    versions = {json.dumps(each["versions"], sort_keys=True) for each in manifests}
    if len(versions) > 1:
        raise NotTheCampaign("its runs were made with different versions of libraries")
    losses = [loss for each in runs if not math.isnan(loss := smallest_loss(each.run))]
    return {
        "study": campaign.study,
        "command": campaign.command,
        "schemes": list(dict.fromkeys(each["scheme"] for each in manifests)),
        "seeds": sorted({each["seed"] for each in manifests}),
        "rounds": len(runs[0].run.rounds),
        "commits": sorted({each["git_commit"] or "unknown" for each in manifests}),
        "versions": manifests[0]["versions"],
        "rounded": False,
        "targets": {
            "loss": _known(max(losses, default=math.nan)),
            metric.name: _known(metric.common_target([each.run for each in runs])),
        },
        **found,
    }


def _examine(campaign: Campaign, runs: Sequence[ComparedRun]) -> None:
    expected = {
        (scheme, seed) for scheme in campaign.schemes for seed in parse_seeds(campaign.seeds)
    }
    found = {(each.run.manifest["scheme"], each.run.manifest["seed"]) for each in runs}
    if found != expected:
        different = ", ".join(
            f"{scheme} with seed {seed}" for scheme, seed in sorted(found ^ expected)
        )
        raise NotTheCampaign(f"its runs are not those of `{campaign.command}`: {different}")
    rounds = {len(each.run.rounds) for each in runs}
    if len(rounds) > 1 or (campaign.rounds is not None and rounds != {campaign.rounds}):
        counts = ", ".join(map(str, sorted(rounds)))
        raise NotTheCampaign(
            f"its runs have {counts} rounds, which `{campaign.command}` does not make"
        )


def of_comparison(compared: Comparison) -> dict[str, Any]:
    """Means, differences, energy and claims of a comparison, in the units that are printed."""
    metrics: dict[str, Any] = {}
    for key, metric in compared.metrics.items():
        rows = compared.summary[compared.summary["metric"] == key].set_index("scheme")
        schemes = {
            str(scheme): dict(_of_scheme(row.to_dict(), metric.scale))
            for scheme, row in rows.iterrows()
        }
        metrics[key] = {
            "label": metric.label,
            "unit": metric.unit,
            "smaller_is_better": metric.smaller_is_better,
            "schemes": schemes,
        }
    sitting_out = compared.runs.groupby("scheme", sort=False)["devices_sitting_out"].mean()
    energy: dict[str, dict[str, float]] = {}
    for row in compared.energy.to_dict("records"):
        energy.setdefault(str(row["device"]), {})[str(row["scheme"])] = _short(row["energy_j"])
    claims = claim_results(compared, "") if compared.reference == "collapipe" else []
    return {
        "reference": compared.reference,
        "metrics": metrics,
        "devices_sitting_out": {str(name): float(mean) for name, mean in sitting_out.items()},
        "energy_j": energy,
        "claims_source": PAPER,
        "claims": [
            {
                "what": each.claim.what,
                "against": each.claim.baseline,
                "paper": each.claim.words,
                "paper_percent": each.claim.percent,
                "measured": _known(each.percent),
                "ci95": _known(each.ci95),
                "verdict": each.verdict,
            }
            for each in claims
        ],
    }


def _of_scheme(row: Mapping[Any, Any], scale: float) -> Iterator[tuple[str, Any]]:
    yield "seeds", int(row["seeds"])
    yield "reached", int(row["reached"])
    for key in ("mean", "ci95", "difference", "difference_ci95"):
        yield key, _known(row[key] * scale)
    for key in ("percent", "percent_ci95"):
        yield key, _known(row[key])


def text_of(stored: Mapping[str, Any]) -> str:
    """The text of a file: a line for each scheme of a metric, so that changes can be read."""
    text = json.dumps(stored, indent=1, allow_nan=False)
    return _on_one_line(text) + "\n"


def _on_one_line(text: str) -> str:
    """Joins the lines of the innermost objects and lists."""
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda found: " ".join(found[0].split()), text)


def _known(value: float) -> float | None:
    """A value with seven digits; None, which JSON has, for nan and infinity."""
    return _short(value) if math.isfinite(value) else None


def _short(value: float) -> float:
    return float(f"{value:.7g}")
