"""Setups of servers: what makes two runs those of one server, and what sets servers apart."""

from dataclasses import replace

from builders import HOST, a_cell, a_record

from journal.compare.setups import Setup, differing, flags_of, planned_setup, setups_of
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine

ENGINE = Engine(
    model="m", max_model_len=2048, flags=("--enforce-eager", "--x"), env={"A": "1", "B": "2"}
)


def test_the_flags_of_an_engine_are_its_fields_that_count() -> None:
    flags = flags_of(ENGINE)
    assert flags["max_model_len"] == 2048
    assert flags["flags"] == "--enforce-eager --x"
    assert flags["env"] == "A=1 B=2"
    assert flags_of(None) == {}
    bare = flags_of(Engine(model="m"))
    assert "flags" not in bare and "env" not in bare


def test_a_setup_has_what_is_known() -> None:
    setup = planned_setup(a_cell(engine=ENGINE, quantisation="awq"), {"gpu": "L4", "os": None})
    assert (setup.model, setup.quantisation) == ("m", "awq")
    assert setup.get("max_model_len") == "2048"
    assert setup.get("gpu") == "L4"
    assert setup.get("os") == setup.get("revision") == ""
    assert "os" not in dict(setup.attributes)
    assert planned_setup(a_cell(engine=None)).attributes == ()


def test_servers_of_two_versions_or_hosts_are_two() -> None:
    record = a_record()
    newer = replace(record, facts=EngineFacts(version="0.33.0"))
    elsewhere = replace(record, environment={**HOST, "cpu": "another"})
    first, again, other, apart = setups_of([record, replace(record), newer, elsewhere])
    assert first == again
    assert first.get("version") == "0.32.0" and other.get("version") == "0.33.0"
    assert differing([first, again]) == ()
    assert differing([first, other]) == ("version",)
    assert differing([first, apart]) == ("cpu",)
    assert set(differing([first, other, apart])) == {"version", "cpu"}
    assert differing([]) == ()


def test_a_run_that_failed_early_takes_the_only_version_of_its_setup() -> None:
    record = a_record()
    early = replace(record, facts=EngineFacts(), status="failed")
    newer = replace(record, facts=EngineFacts(version="0.33.0"))
    assert setups_of([early, record])[0].get("version") == "0.32.0"
    assert setups_of([early, record, newer])[0].get("version") == "", "it may be either"
    assert setups_of([early])[0].get("version") == ""
    another = replace(early, cell=replace(record.cell, engine=ENGINE))
    assert setups_of([another, record])[0].get("version") == "", "of another setup"


def test_a_scripted_server_is_known_by_its_model_or_its_version() -> None:
    assert Setup("simulated-model", None, ()).simulated
    assert Setup("m", None, (("version", "simulated 1"),)).simulated
    assert not Setup("m", None, (("version", "0.32.0"),)).simulated
