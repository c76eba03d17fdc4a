"""One run of a campaign on another machine: `python -m collapipe_ns3.campaign.remote_run`.

Reads a JSON object from stdin: the `study` as YAML, the `place` (a directory) to run it in, and the
`code` that is expected here, null where any code will do. An error is printed as the last line on
stderr, with exit code 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from collapipe_ns3.campaign.workers import execute
from collapipe_ns3.run import code_identity
from collapipe_ns3.run.code_identity import CodeIdentity
from collapipe_ns3.study import Study


def main() -> int:
    from collapipe_ns3.campaign import preload  # torch with one thread, as in local runs

    del preload
    order = json.load(sys.stdin)
    try:
        if order["code"] is not None:
            here = code_identity.of_study(Study.from_yaml(order["study"]).config)
            if changed := code_identity.changes(CodeIdentity.from_json(order["code"]), here):
                print(f"this machine has other code: {'; '.join(changed)}", file=sys.stderr)
                return 1
        execute(order["study"], Path(order["place"]))
    except Exception as error:  # of whatever kind: it concerns this run alone
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
