"""The plan in docs/scale.md: its assumptions times the figures of docs/performance.md.

    python -m benchmarks.plan

Measures nothing: prints the table and puts it into the page.
"""

import re

from benchmarks.page import PAGE, ROOT, put
from journal.units import data_size

SCALE = ROOT / "docs" / "scale.md"
DAYS, GIB = 365, 2**30


def main() -> None:
    table = planned(PAGE.read_text(), SCALE.read_text())
    print(table)
    put("plan", table, SCALE)


def planned(measured: str, page: str) -> str:
    """The table, from the text of the page of figures and the assumptions in the other page."""
    assumed = page.partition("| Assumed | |")[2].partition("\n\n")[0]
    values = [float(v.replace(",", "")) for v in re.findall(r"\| ([\d.,]+) \|$", assumed, re.M)]
    hosts, per_day, requests, chunks, kept_days, hours, run_s, *prices = values
    server, growth = section("postgres", measured), section("growth", measured)
    answer = rf"^\| a request of {chunks:.0f} chunks \|"
    of_request = number(rf"{answer} ([\d,]+) bytes", server)
    of_run = number(r"^\| a run without its requests \| ([\d,]+) bytes", server)
    in_file = number(rf"{answer} .* \| ([\d,]+) bytes", growth)
    runs, runs_per_s = hosts * per_day * DAYS, hosts * per_day / hours / 3600
    database = hosts * per_day * requests * kept_days * of_request + runs * of_run
    files = hosts * per_day * requests * (DAYS - kept_days) * in_file
    gpu_hours = runs * run_s / 3600
    rows = {
        "runs in the year": f"{runs:,.0f}",
        "requests in the year, each a row": f"{runs * requests:,.0f}",
        "times of chunks in them": f"{runs * requests * chunks:,.0f}",
        "runs stored, while all measure": f"{runs_per_s:.2f} per s",
        "requests stored, while all measure": f"{runs_per_s * requests:,.0f} per s",
        "the same in bytes": f"{data_size(runs_per_s * (requests * of_request + of_run))}/s",
        "the database at the end, compacted every night": data_size(database),
        "the files beside it": data_size(files),
        "the database, were it never compacted": data_size(runs * (requests * of_request + of_run)),
        "storage in the last month": f"{(database * prices[0] + files * prices[1]) / GIB:,.0f} USD",
        "hosts of PostgreSQL and MLflow in the year": f"{12 * prices[2]:,.0f} USD",
        "hours of GPUs in the year": f"{gpu_hours:,.0f}",
        "their price": f"{gpu_hours * prices[3]:,.0f} USD",
    }
    lines = [f"| {what} | {value} |" for what, value in rows.items()]
    return "\n".join(["| Computed | |", "| --- | ---: |", *lines])


def section(part: str, text: str) -> str:
    return text.partition(f"<!-- {part} -->")[2].partition(f"<!-- end of {part} -->")[0]


def number(pattern: str, text: str) -> float:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"no line matches {pattern}")
    return float(match[1].replace(",", ""))


if __name__ == "__main__":
    main()
