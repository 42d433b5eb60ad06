"""The result rows, as a Markdown table and as a plot of the results relative to their goals."""

import statistics
import sys


def log(text):
    print(text, file=sys.stderr, flush=True)


ROWS = []


def spread(values):
    return statistics.median(values), min(values), max(values)


def row(what, ours, reference, goal, at_least=True, unit=""):
    """Adds results of the same rounds. `goal` None: for information."""
    ratio = spread([a / b for a, b in zip(ours, reference)])
    met = None if goal is None else (ratio[0] >= goal if at_least else ratio[0] <= goal)
    ROWS.append(
        {
            "what": what, "ratio": ratio, "goal": goal, "at_least": at_least, "met": met,
            "ours": statistics.median(ours), "reference": statistics.median(reference), "unit": unit,
        }
    )
    sign = "" if goal is None else ("≥ " if at_least else "≤ ") + f"{goal:g}"
    log(f"  {what}: {ratio[0]:.2f} [{ratio[1]:.2f}-{ratio[2]:.2f}] {sign}")


def absolute(what, values, goal, unit):
    median = statistics.median(values)
    ROWS.append(
        {
            "what": what, "ratio": None, "goal": goal, "at_least": False, "met": median <= goal, "ours": median, "reference": None,
            "unit": unit, "spread": (min(values), max(values)),
        }
    )


def table():
    lines = ["| what | goal | ratio, median [min-max] | brandgate | rival | |", "|---|---|---|---|---|---|"]
    for entry in ROWS:
        goal = "–" if entry["goal"] is None else ("≥ " if entry["at_least"] else "≤ ") + f"{entry['goal']:g}"
        met = {True: "reached", False: "**not reached**", None: ""}[entry["met"]]
        if entry["ratio"] is None:
            minimum, maximum = entry["spread"]
            lines.append(f"| {entry['what']} | {goal} {entry['unit']} | – | {entry['ours']:.0f} [{minimum:.0f}-{maximum:.0f}] {entry['unit']} | – | {met} |")
            continue
        median, minimum, maximum = entry["ratio"]
        results = [f"{entry[side]:,.0f}" if entry[side] >= 100 else f"{entry[side]:.2f}" for side in ("ours", "reference")]
        unit = entry["unit"]
        lines.append(f"| {entry['what']} | {goal} | {median:.2f} [{minimum:.2f}-{maximum:.2f}] | {results[0]} {unit} | {results[1]} {unit} | {met} |")
    return "\n".join(lines)


def plot():
    """Bars of the results relative to their goals: 1 is the goal, more is better."""
    rows = [entry for entry in ROWS if entry["goal"] is not None]
    value_of = lambda e: e["ratio"][0] if e["ratio"] else e["ours"]
    scaled = [value_of(e) / e["goal"] if e["at_least"] else e["goal"] / max(value_of(e), 1e-9) for e in rows]
    height, left, width, maximum = 24, 470, 330, max(2.0, *scaled)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{len(rows) * height + 40}" font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="{left}" y="18" fill="#444">result relative to its goal (line: the goal)</text>',
    ]
    for index, (entry, value) in enumerate(zip(rows, scaled)):
        y = 28 + index * height
        color = "#2a8a57" if entry["met"] else "#c0562f"
        out.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end" fill="#222">{entry["what"].replace("&", "&amp;")}</text>')
        out.append(f'<rect x="{left}" y="{y + 3}" width="{value / maximum * width:.0f}" height="{height - 8}" fill="{color}"/>')
        out.append(f'<text x="{left + value / maximum * width + 6:.0f}" y="{y + 15}" fill="#222">{value:.2f}</text>')
    goal = left + width / maximum
    out.append(f'<line x1="{goal:.0f}" x2="{goal:.0f}" y1="24" y2="{len(rows) * height + 30}" stroke="#222" stroke-dasharray="4 3"/></svg>')
    return "\n".join(out)
