"""The model card of a run: what it is, what it was fitted on, how well it does, how to use it, where it ends."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from counterpoint import catalog
from counterpoint.catalog import Row
from counterpoint.options import flat

LIMITS = (
    "The numbers hold for rows like the test rows above; their intervals are over those rows, not over fits with other "
    "seeds. Retrieval depends on the number of candidates. A row's vector says what its views share, which may include "
    "what nobody should decide by; look before you rely on it."
)
STATUS = {
    "partial": "Something of the paper is left out of this implementation; the method's page says what.",
    "reconstruction": "An equation of the paper was not known and is ours; the method's page says which.",
}


def model_card(row: Row, config: Mapping[str, Any], evaluation: Mapping[str, Any], use: str | None = None) -> str:
    """Markdown with a YAML head for a README.md, from what a run's config and evaluation say.

    `use` is the section on how to use the files beside the card; left out, they are a run folder. An empty
    `evaluation` is a run that was never judged.
    """
    claims = _claims(row)
    sections = [
        f"# {_title(row, config)}",
        f"{row.summary[:1].upper()}{row.summary[1:]} ({row.paper}; status of this implementation: {row.status}).",
        "## Data",
        _data(config["data"]),
        "## Result",
        _result(row, evaluation),
        "## Claims",
        _verdicts(row, claims),
        "## Options",
        "\n".join(f"- {name}: {value}" for name, value in flat({**config["options"], **config["training"]})),
        "## Use",
        use or _use(row, _views(config["data"])),
        "## Limits",
        " ".join([LIMITS, *([STATUS[row.status]] if row.status in STATUS else [])]),
        f"Made with counterpoint {config['counterpoint']} ({_versions(config['versions'])}).",
    ]
    return _head(row, config, evaluation, claims) + "\n\n".join(sections) + "\n"


def _head(row: Row, config: Mapping[str, Any], evaluation: Mapping[str, Any], claims: Mapping[str, str]) -> str:
    """What model hubs read: the metadata of a model card with its `model-index`."""
    head: dict[str, Any] = {
        "library_name": "counterpoint",
        "pipeline_tag": "sentence-similarity" if row.wing == "text" else "feature-extraction",
        "tags": ["contrastive-learning", row.wing, row.name],
        "claims": dict(claims),
    }
    if metrics := [_metric(name, cell) for name, cell in _measures(evaluation).items() if cell["value"] is not None]:
        source = _source(config["data"])
        data = {"name": source, "type": source, "split": "test", "rows": evaluation["rows"]}
        result = {"task": {"type": "retrieval"}, "dataset": data, "metrics": metrics}
        head["model-index"] = [{"name": _title(row, config), "results": [result]}]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n"


def _metric(name: str, cell: Mapping[str, Any]) -> dict[str, Any]:
    bounds = {} if cell["low"] is None else {"args": {"level": 0.95, "low": cell["low"], "high": cell["high"]}}
    return {"type": name, "name": name, "value": cell["value"], **bounds}


def _title(row: Row, config: Mapping[str, Any]) -> str:
    source = _source(config["data"])
    return f"{row.name} on {source}" if source else row.name


def _source(data: Mapping[str, Any]) -> str:
    """The file's name, without the place it has on one machine."""
    return str(data.get("source") or "").rpartition("/")[2]


def _views(data: Mapping[str, Any]) -> list[str]:
    return list((data.get("reader") or {}).get("view") or ())


def _data(data: Mapping[str, Any]) -> str:
    said = []
    if rows := data.get("rows"):
        said.append(", ".join(f"{count:,} {name}" for name, count in rows.items()) + " rows")
    if views := _views(data):
        said.append(f"views: {', '.join(views)}")
    fingerprint = data.get("fingerprint")
    known = f"Fingerprint of the training rows: `{fingerprint}`." if fingerprint else ""
    return " ".join(part for part in ("; ".join(said) + "." if said else "", known) if part) or "Not recorded."


def _measures(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    measures: Mapping[str, Any] = evaluation.get("measures") or {}
    return measures


def _result(row: Row, evaluation: Mapping[str, Any]) -> str:
    """The measures as a table, the baseline beside them."""
    measures, against = _measures(evaluation), evaluation.get("against")
    if not measures:
        return "No test rows were kept, so nothing was judged."
    head = ["measure", row.name, *([against["name"], "difference"] if against else [])]
    lines = [head, ["---"] * len(head)]
    for name, cell in measures.items():
        line = [name, _number(cell)]
        if against:
            line += [_number(against["measures"].get(name)), _number(against["difference"].get(name))]
        lines.append(line)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{evaluation['rows']:,} test rows; 95 % intervals over rows.\n\n{table}"


def _claims(row: Row) -> dict[str, str]:
    """Each claim of the method by the sentence it makes, and what its committed run concluded."""
    from counterpoint.claims.units import load_claim

    found = {}
    for target in (row.claim, *row.further_claims) if row.claim else ():
        claim = load_claim(target)
        found[claim.sentence] = catalog.latest_verdict(claim.name) or "not run yet"
    return found


def _verdicts(row: Row, claims: Mapping[str, str]) -> str:
    if not claims:
        return "None was written down for this method."
    lines = [f"- **{verdict}**: {sentence}." for sentence, verdict in claims.items()]
    where = f"Of the method, on the claims' own data and not of this run (`counterpoint verify {row.name}`):"
    return "\n".join([where, "", *lines])


def _number(cell: Mapping[str, Any] | None) -> str:
    if not cell or cell["value"] is None:
        return ""
    interval = "" if cell["low"] is None else f" ({cell['low']:.3g} to {cell['high']:.3g})"
    return f"{cell['value']:.3g}{interval}"


def _use(row: Row, views: Sequence[str]) -> str:
    """The commands for a run folder."""
    lines = ["counterpoint embed RUN new.parquet -o vectors.parquet"]
    if row.wing == "multimodal" and len(views) > 1:
        target, *given = views
        lines.insert(0, f"counterpoint retrieve RUN --target {target} --given {','.join(given)} --rows new.parquet")
    if row.wing == "recommend":
        lines = ["counterpoint recommend RUN --user USER", "counterpoint recommend RUN --history ITEM,ITEM"]
    if row.wing == "agents":
        lines = ["counterpoint evaluate RUN DATA", *(['counterpoint advise RUN "TASK"'] if row.name == "clear" else [])]
    return "\n".join(["```sh", *lines, "```"])


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
