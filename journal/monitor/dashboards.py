"""Files for watching a server for days: Prometheus with rules, Grafana with dashboards, and a
compose file that runs both."""

import json
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from journal.errors import UsageError
from journal.monitor.panels import BOARDS, Board, DashboardPanel
from journal.private import make_folder, write_private
from journal.records.address import beside
from journal.serve.endpoint import normalised
from journal.serve.engines.vllm.metric_names import NEWEST

PROMETHEUS = "127.0.0.1:9090"
SOURCE = {"type": "prometheus", "uid": "journal-prometheus"}
COLUMNS, HEIGHT = 24, 8  # of Grafana's grid
SCHEMA = 39  # of dashboards, as Grafana 11 writes them; later versions read it


def write_dashboards(
    directory: Path, base_url: str, *, exporter: str = "127.0.0.1:9410", interval_s: float = 5.0
) -> list[Path]:
    """Write all files into `directory`, over those of an earlier call, and return their paths.
    Prometheus will scrape the server at `base_url` and the exporter at the address `exporter`
    (host:port) every `interval_s`. Raises UsageError where `directory` cannot be written."""
    url = urlsplit(normalised(base_url))
    fill = {
        "interval": f"{interval_s:g}s" if interval_s % 1 == 0 else f"{interval_s * 1000:.0f}ms",
        "scheme": url.scheme,
        "path": json.dumps(urlsplit(beside(urlunsplit(url), "/metrics")).path),
        "server": json.dumps(url.netloc),
        "exporter": json.dumps(exporter),
        "prometheus": PROMETHEUS,
    }
    files = {
        "compose.yml": _filled("compose.yml", fill),
        "prometheus/prometheus.yml": _filled("prometheus.yml", fill),
        "prometheus/rules/recording.yml": _text("recording.yml"),
        "prometheus/rules/alerts.yml": _text("alerts.yml"),
        "grafana/provisioning/datasources/prometheus.yml": _filled("datasource.yml", fill),
        "grafana/provisioning/dashboards/journal.yml": _text("provider.yml"),
        **{f"grafana/dashboards/{_file(board)}": _shown(board) for board in BOARDS},
    }
    try:
        make_folder(directory)  # the owner's alone; below it the containers' own users read, too
        for name, text in files.items():
            path = directory / name
            for folder in [*path.relative_to(directory).parents][-2::-1]:
                (directory / folder).mkdir(mode=0o755, exist_ok=True)
            write_private(path, text)
            path.chmod(0o644)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written ({error.strerror}): choose another directory"
        ) from None
    return [directory / name for name in files]


def dashboard(board: Board) -> dict[str, Any]:
    """The dashboard of `board` as Grafana's JSON."""
    return {
        "uid": board.uid,
        "title": board.title,
        "tags": ["journal"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {"list": [_models()] if board.by_model else []},
        "panels": _panels(board),
    }


def _models() -> dict[str, Any]:
    return {
        "type": "query",
        "name": "model",
        "label": "Model",
        "datasource": SOURCE,
        "query": {
            "query": f"label_values({NEWEST['running']}, model_name)",
            "refId": "models",
        },
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels(board: Board) -> list[dict[str, Any]]:
    """The panels as Grafana's JSON, from left to right in rows of COLUMNS."""
    panels, x, y = [], 0, 0
    for number, panel in enumerate(board.panels, start=1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        panels.append(_panel(panel, number, x, y))
        x += panel.width
    return panels


def _panel(panel: DashboardPanel, number: int, x: int, y: int) -> dict[str, Any]:
    table, heatmap = panel.kind == "table", panel.kind == "heatmap"
    json_: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": table,
                "range": not table,
                "format": "table" if table else "heatmap" if heatmap else "time_series",
            }
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }
    if table:
        hidden = ("Time", "__name__", "instance", "job")
        organise = {"excludeByName": dict.fromkeys(hidden, True)}
        json_["transformations"] = [{"id": "organize", "options": organise}]
    return json_


def _shown(board: Board) -> str:
    return json.dumps(dashboard(board), indent=2) + "\n"


def _file(board: Board) -> str:
    return f"{board.uid.removeprefix('journal-')}.json"


def _text(name: str) -> str:
    return (resources.files("journal.monitor") / "boards" / name).read_text()


def _filled(name: str, values: dict[str, str]) -> str:
    return Template(_text(name)).substitute(values)
