"""What a check of a scenario finds."""

from __future__ import annotations

#: A path in the scenario, and what is wrong there.
Problem = tuple[str, str]
