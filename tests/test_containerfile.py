"""The image of a GPU host installs what the guide installs, from packages that exist."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

DockerfileParser = pytest.importorskip("dockerfile_parse").DockerfileParser

ROOT = Path(__file__).parent.parent
KNOWN = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "VOLUME", "ENTRYPOINT", "CMD", "COMMENT"}


@pytest.fixture(scope="module")
def parsed() -> Iterator[DockerfileParser]:
    with (ROOT / "Containerfile").open("rb") as file:
        yield DockerfileParser(fileobj=file)


def values(parsed: DockerfileParser, instruction: str) -> list[str]:
    return [one["value"] for one in parsed.structure if one["instruction"] == instruction]


def test_its_instructions_are_known_and_whole(parsed: DockerfileParser) -> None:
    assert {one["instruction"] for one in parsed.structure} == KNOWN
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+", parsed.baseimage)
    for name in ("VOLUME", "ENTRYPOINT", "CMD"):
        assert all(isinstance(json.loads(value), list) for value in values(parsed, name))
    for command in values(parsed, "RUN"):
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0


def test_it_installs_what_the_readme_installs(parsed: DockerfileParser) -> None:
    command = values(parsed, "RUN")[-1]
    (extras,) = re.findall(r"'/src\[([\w,-]+)\]'", command)
    assert f"pip install '.[{extras}]'" in (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert parsed.envs["JOURNAL_HOME"] in json.loads(values(parsed, "VOLUME")[0])


@pytest.mark.skipif(shutil.which("apt-cache") is None, reason="Debian's packages are not known")
def test_debian_has_its_packages(parsed: DockerfileParser) -> None:
    (packages,) = re.findall(r"--no-install-recommends ([\w .-]+?) +&&", values(parsed, "RUN")[0])
    for package in packages.split():
        found = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
        assert found.returncode == 0, package
