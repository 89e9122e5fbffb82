"""`journal runs` on a journal of more runs than a table holds."""

import json
from pathlib import Path

from builders import a_record, an_experiment
from typer.testing import CliRunner

from journal.cli.app import app
from journal.cli.runs import LISTED
from journal.store.store import open_store


def test_a_table_has_the_newest_runs_and_says_that_there_are_more(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        begun = an_experiment()
        kept = store.begin_experiment(begun.experiment, begun.started_at, {})
        for number in range(LISTED + 1):
            store.add_run(a_record(id=f"{number:08x}", number=number, experiment_id=kept.id), None)
        ids = [run.id for run in store.runs()]
    assert listed(tmp_path, ids) == (ids[1:], True)
    assert listed(tmp_path, ids, "-n", "2") == (ids[-2:], True)
    assert listed(tmp_path, ids, "-n", str(LISTED + 1)) == (ids, False)
    as_json = CliRunner().invoke(app, ["runs", "--home", str(tmp_path), "--json"]).stdout
    assert [run["id"] for run in json.loads(as_json)] == ids


def listed(home: Path, ids: list[str], *options: str) -> tuple[list[str], bool]:
    """The runs that a table has, in its order, and whether it says that it leaves some out."""
    text = CliRunner().invoke(app, ["runs", "--home", str(home), *options]).stdout
    shown = {line.split()[0] for line in text.splitlines() if line.strip()}
    return [one for one in ids if one[:8] in shown], "older ones are left out" in text
