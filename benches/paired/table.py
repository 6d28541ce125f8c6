"""Medians, and how they stand to the mark and to Mosquitto, as a table for benches/README.md."""

import statistics


def render(rows, peers, results):
    names = [peer.name for peer in peers]
    lines = ["| row | mark | best peer known | " + " | ".join(names) + " | times as good as mosquitto |"]
    lines.append("|---" * (len(names) + 4) + "|")
    for row in rows:
        medians = {name: median(row, results[row.name][name]) for name in names}
        cells = [show(row, results[row.name][name], medians[name]) for name in names]
        mark = f"≤ {row.mark:g}" if row.mark else ""
        lines.append(f"| {row.name} | {mark} | {row.best_peer} | {' | '.join(cells)} | {ratio(medians)} |")
    return "\n".join(lines)


def median(row, figures):
    known = [figure[row.figure] for figure in figures if row.figure in figure]
    return statistics.median(known) if known else None


def show(row, figures, middle):
    if middle is None:
        return next((figure["error"] for figure in figures if "error" in figure), "–").splitlines()[0][:60]
    text = f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"
    if any(figure.get("missing") for figure in figures):
        text += " (lost messages)"
    if any(figure.get("failed") for figure in figures):
        text += " (failed connects)"
    return text


def ratio(medians):
    own, peer = medians.get("wardgate"), medians.get("mosquitto")
    return f"{peer / own:.1f}" if own and peer else "–"
