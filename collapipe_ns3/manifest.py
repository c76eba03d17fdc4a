"""Under what circumstances a run was made: versions, seeds, machine, and state of the source."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from collapipe_ns3.code_identity import CodeIdentity

#: Of the manifest's keys and what they mean. 1 has `code`, the identity of the code.
SCHEMA_VERSION = 1

PACKAGES = ("collapipe-ns3", "ns3", "cppyy", "torch", "numpy", "scipy", "pandas", "pyarrow")


def versions() -> dict[str, str | None]:
    """The installed version of each package that a result depends on, None where it is missing."""
    return {name: _version(name) for name in PACKAGES}


def manifest(scheme: str, seed: int, device: str, code: CodeIdentity) -> dict[str, Any]:
    """What a run directory keeps of the circumstances of its run."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scheme": scheme,
        "seed": seed,
        "device": device,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": versions(),
        "git_commit": _commit(),
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
        "code": code.to_json(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that runs, `+` behind it where it has changes; None if none."""
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Installed into an environment that lies within somebody else's checkout, it is none of ours.
    found = described.returncode == 0 and tracked.returncode == 0
    return described.stdout.strip() if found else None
