"""``python -m bench.figures``: write the recorded figures to README.md and bench/README.md.

`python -m bench --record` measures and writes bench/results/runtime.json; the tables of the documents are generated
only from that file, between the comments ``<!-- figures: NAME -->`` and ``<!-- end of figures -->``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from bench.measure import MEASURES, UNITS

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "bench/results/runtime.json"
DOCUMENTS = (TOP / "README.md", TOP / "bench/README.md")
# The measures that README.md shows.
FRONT = ("least", "init", "run", "create", "state", "exec")
_BLOCK = re.compile(r"(<!-- figures: ([a-z]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def table(middle: dict[str, dict[str, float]], versions: dict[str, str], keys: list[str]) -> str:
    """A Markdown table: a row per measure, a column per runtime, with ratios to the first runtime."""
    names = list(middle)
    rows = [["", *(versions[name] for name in names)], ["---"] * (len(names) + 1)]
    for key in keys:
        if key not in middle[names[0]]:
            continue
        unit = UNITS.get(key, "ms")
        row = [f"{MEASURES[key]}, {unit}"]
        base = middle[names[0]][key]
        for name in names:
            value = middle[name][key]
            shown = f"{value:.0f}" if unit == "KiB" else f"{value:.1f}"
            row.append(shown if name == names[0] else f"{shown} ({value / base:.2f})")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def rendered(document: str, results: dict[str, Any]) -> str:
    """Insert the figures of these results into a document. Raises KeyError for an unknown name."""
    shown = {"front": list(FRONT), "all": list(MEASURES)}

    def block(found: re.Match[str]) -> str:
        rows = table(results["medians"], results["versions"], shown[found[2]])
        about = f"\nMedians of {results['rounds']} interleaved rounds; {results['machine']}.\n"
        return f"{found[1]}{rows}{about}{found[3]}"

    return _BLOCK.sub(block, document)


def main() -> int:
    """Write the documents."""
    results = json.loads(RESULTS.read_text())
    for path in DOCUMENTS:
        path.write_text(rendered(path.read_text(), results))
        print(path.relative_to(TOP))
    return 0


if __name__ == "__main__":
    sys.exit(main())
