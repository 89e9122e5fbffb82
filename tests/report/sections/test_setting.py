"""Where and by whom the runs of a log were made."""

from collections.abc import Callable

import pytest

from journal.compare.points import points
from journal.compare.setups import setups_of
from journal.records.run import Record
from journal.report.phrases import words
from journal.report.places import places
from journal.report.sections import setting

Build = Callable[..., Record]


def prose(records: list[Record], lang: str = "en") -> str:
    measured = points(zip(records, setups_of(records), strict=True))
    blocks = setting.setting_section(measured, places(measured)).blocks
    speak = words(lang)
    return " ".join(
        speak.say(text, str) for b in blocks if b.kind == "paragraph" for text in b.sentences
    )


def test_hosts_and_users_are_named_where_there_are_several(record: Build) -> None:
    def on(host: str, user: str | None, number: int) -> Record:
        made = record(number=number)
        there = {**made.environment, "host": host, "user": user}
        return record(number=number, environment=there)

    one = [on("gpu-1", "ada", n) for n in range(3)]
    assert "gpu-1" not in prose(one)
    several = [*one, on("gpu-2", "bob", 4), on("gpu-2", None, 5)]
    assert "Measured on gpu-1 (ada), gpu-2 (bob), gpu-2." in prose(several)
    assert "gpu-1 (ada)" in prose(several, "zh")
    many = [on(f"gpu-{n}", "ada", n) for n in range(20)]
    assert "gpu-11 (ada)" in prose(many) and "gpu-12" not in prose(many)
    assert "(20)" in prose(many)


def test_no_server_is_set_apart_by_who_ran_it(record: Build) -> None:
    runs = [record(environment={"host": "a", "user": user}) for user in ("ada", "bob")]
    assert len(set(setups_of(runs))) == 1


@pytest.mark.parametrize("user", ["ada", None])
def test_a_run_as_json_says_who_and_where(record: Build, user: str | None) -> None:
    from journal.report.run_json import run_json

    values = run_json(record(environment={"host": "gpu-1", "user": user}))
    assert (values["host"], values["user"]) == ("gpu-1", user)
