"""`Stored` is said only of what is stored: a file that was removed or renamed is noticed."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import journal
from journal.errors import StoreLost
from journal.records.experiment import Experiment
from journal.records.progress import Event
from journal.store.interactions import interactions
from journal.store.store import open_store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
Loss = Callable[[Path], object]
LOSSES: dict[str, Loss] = {
    "the file is removed": lambda home: (home / "journal.db").unlink(),
    "the file is renamed": lambda home: (home / "journal.db").rename(home / "old.db"),
    "the home is renamed": lambda home: home.rename(home.with_name("elsewhere")),
    "the home is removed": shutil.rmtree,
    "another file is put there": lambda home: shutil.copy(
        home / "journal.db", home / "copy"
    ) and (home / "copy").replace(home / "journal.db"),
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_file_is_noticed_by_the_next_transaction(loss: str, tmp_path: Path) -> None:
    home = tmp_path / "lab"
    with open_store(home, f"sqlite:///{home}/journal.db") as store:
        begun = store.begin_experiment(Experiment(name="before"), NOON, {})
        LOSSES[loss](home)
        with pytest.raises(StoreLost, match="removed, renamed or replaced"):
            store.end_experiment(begun.id, "done", NOON)
        with pytest.raises(StoreLost):
            interactions(store)
    assert (home / "journal.db").exists() == (loss == "another file is put there")


@pytest.mark.parametrize("loss", ["the file is removed", "the home is renamed"])
def test_a_run_that_lost_its_file_says_so_and_fails(
    loss: str, tmp_path: Path, fake_server: Callable[..., str]
) -> None:
    home, told = tmp_path / "lab", list[str]()

    def listener(event: Event) -> None:
        if event.stage == "record" and not told:
            LOSSES[loss](home)
        if event.stage == "record":
            told.append(event.message)

    asked = Experiment(
        name="lost",
        grid=journal.Grid(batch=(1, 2, 3), prompt_tokens=(4,), output_tokens=(2,)),
        load=journal.Load(requests=3, warmup=0),
    )
    endpoint = journal.attach(fake_server(ttft_s=0.001, itl_s=0.001))
    with pytest.raises(StoreLost) as lost:
        journal.run(asked, home, endpoint=endpoint, listener=listener)
    assert lost.value.exit_code != 0
    assert len(told) == 1
