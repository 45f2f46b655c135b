"""What comes out of a comparison: a table in Markdown, a chart in SVG, a section of docs/benchmarks.md.

Knows: the JSON of `encke bench`, arithmetic. Never learns how anything was measured.
"""

from statistics import median

BEGIN = "<!-- results: written by `benches/compare/run --record` -->"
END = "<!-- end of results -->"


def memory(bench):
    return bench["server"]["pss_bytes_per_connection"]


def kernel(bench):
    """What sockets and their buffers alone take, where that can be told (root); else all that the kernel's slab grew by."""
    found = bench["kernel"]
    slab = found.get("socket_bytes_per_connection")
    if slab is None:
        slab = found["slab_bytes_per_connection"]
    parts = [slab, found["tcp_bytes_per_connection"]]
    return None if None in parts else sum(parts)


def cpu(bench):
    """Microseconds per delivery: the same number is seconds per million."""
    return bench["server"]["cpu_us_per_delivery"]


def last(bench):
    found = bench["deliveries"]["sent_to_last_us"]
    return found["p50"] / 1000 if found["count"] else None


def storm(bench):
    each = [found["server_cpu_us_each"] for found in bench["storms"] if found["server_cpu_us_each"] is not None]
    return median(each) if each else None


def wakeups(bench):
    return bench["server"]["idle_wakeups_per_s"]


# What is compared: its heading, how it is read off a run, its unit, whether the ratio to the floor says something.
COLUMNS = [
    ("user memory of an idle connection", memory, "bytes", False),
    ("kernel memory, both ends", kernel, "bytes", False),
    ("server CPU for a million deliveries", cpu, "s", True),
    ("published to last", last, "ms", True),
    ("server CPU of a reconnect in a storm", storm, "us", True),
    ("wake-ups while idle", wakeups, "per s", False),
]


def of(results, peer):
    return [found["bench"] for found in results["rounds"] if found["peer"] == peer]


def values(results, peer, read):
    return [read(bench) for bench in of(results, peer)]


def middle(numbers):
    numbers = [number for number in numbers if number is not None]
    return median(numbers) if numbers else None


def ratio(results, peer, read):
    """The median of the ratios to the floor, each of two that were measured in the same round."""
    pairs = zip(values(results, peer, read), values(results, "floor", read))
    return middle([mine / floor for mine, floor in pairs if mine is not None and floor])


def cell(results, peer, column):
    _, read, _, compares = column
    value = middle(values(results, peer, read))
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    times = ratio(results, peer, read) if compares and peer != "floor" else None
    return f"{text} ({times:.2f} x)" if times else text


def table(results):
    heads = ["", "connections"] + [f"{name}, {unit}" for name, _, unit, _ in COLUMNS] + ["lost, twice"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for peer in results["notes"]:
        runs = of(results, peer)
        listening = min(bench["connections"]["listening"] for bench in runs)
        lost = sum(bench["deliveries"]["lost"] for bench in runs)
        twice = sum(bench["deliveries"]["duplicated"] for bench in runs)
        cells = [cell(results, peer, column) for column in COLUMNS]
        lines.append("| " + " | ".join([peer, f"{listening:,}", *cells, f"{lost}, {twice}"]) + " |")
    return "\n".join(lines)


def warnings(results):
    """Where the client was what was measured."""
    slow = {found["peer"] for found in results["rounds"] if found["bench"]["client"]["is_bottleneck"]}
    return [f"With {peer} the client was busier than 85 % of its core: its last receiver says little." for peer in sorted(slow)]


def section(results):
    notes = [f"- **{peer}**: {note}" + (f"; {results['versions'][peer]}" if peer in results["versions"] else "")
             for peer, note in results["notes"].items()]
    return "\n".join([
        f"{results['date']}, {results['machine']}: `{results['command'].strip()}`", "",
        table(results), "",
        "Medians over the rounds; in brackets the median ratio to the floor.", "",
        *notes, *[f"- {warning}" for warning in warnings(results)], "",
        "![The same as a chart](images/benchmarks.svg)",
    ])


def record(results, root):
    page = root / "docs" / "benchmarks.md"
    text = page.read_text()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    page.write_text(f"{before}{BEGIN}\n\n{section(results)}\n\n{END}{after}")
    (root / "docs" / "images" / "benchmarks.svg").write_text(chart(results))


# --- The chart ----------------------------------------------------------------------------------

BAR, GAP, PANEL, LABEL = 22, 8, 330, 64
INK, PALE, STRONG = "#24292f", "#9db4c9", "#1f6feb"


def chart(results):
    """A panel for each column that everybody has: a bar for each peer, the shortest is the best."""
    peers = list(results["notes"])
    panels = [column for column in COLUMNS if column[1] is not kernel]
    height = 40 + len(peers) * (BAR + GAP)
    columns = 2
    rows = -(-len(panels) // columns)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * (PANEL + 90)} {rows * height + 10}" '
           f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
           '<rect width="100%" height="100%" fill="#ffffff"/>']
    for nth, column in enumerate(panels):
        x, y = nth % columns * (PANEL + 90) + 10, nth // columns * height + 20
        out += panel(results, peers, column, x, y)
    return "\n".join([*out, "</svg>", ""])


def panel(results, peers, column, x, y):
    name, read, unit, _ = column
    found = {peer: middle(values(results, peer, read)) for peer in peers}
    most = max((value for value in found.values() if value), default=1)
    out = [f'<text x="{x}" y="{y}" font-weight="600">{name}, {unit}</text>']
    for nth, peer in enumerate(peers):
        top = y + 12 + nth * (BAR + GAP)
        value = found[peer]
        out.append(f'<text x="{x + LABEL - 8}" y="{top + 15}" text-anchor="end">{peer}</text>')
        if value is None:
            out.append(f'<text x="{x + LABEL}" y="{top + 15}" fill="#6e7781">not measured</text>')
            continue
        width = max(1, max(value, 0) / most * (PANEL - LABEL - 20))
        colour = STRONG if peer == "encke" else PALE
        out.append(f'<rect x="{x + LABEL}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
        out.append(f'<text x="{x + LABEL + width + 6:.1f}" y="{top + 15}">{cell(results, peer, column)}</text>')
    return out
