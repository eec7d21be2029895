"""The model card of a run: what it is, what it was fitted on, how well it does, how to use it."""

from collections.abc import Iterator, Mapping
from typing import Any

from counterpoint.catalog import Row


def model_card(row: Row, config: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    """Markdown for the README.md of a run folder, from what its config and evaluation say."""
    data, training = config["data"], config["training"]
    rows = ", ".join(f"{count:,} {name}" for name, count in data["rows"].items())
    views = data["reader"]["view"]
    sections = [
        f"# {row.name} on {data['source'].rpartition('/')[2]}",
        f"{row.summary[:1].upper()}{row.summary[1:]} ({row.paper}; status of this implementation: {row.status}).",
        "## Data",
        f"{rows} rows; views: {', '.join(views)}. Fingerprint of the training rows: `{data['fingerprint']}`.",
        "## Result",
        _result(row, evaluation),
        "## Options",
        "\n".join(f"- {name}: {value}" for name, value in _flat({**config["options"], **training})),
        "## Use",
        _use(list(views)),
        "## Limits",
        "The numbers hold for rows like the test rows above. Retrieval depends on the number of candidates. A row's "
        "vector says what its views share, which may include what nobody should decide by; look before you rely on it.",
        f"Made with counterpoint {config['counterpoint']} ({_versions(config['versions'])}).",
    ]
    return "\n\n".join(sections) + "\n"


def _result(row: Row, evaluation: Mapping[str, Any]) -> str:
    """The measures as a table, the baseline beside them."""
    measures, against = evaluation["measures"], evaluation["against"]
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


def _number(cell: Mapping[str, Any] | None) -> str:
    if not cell or cell["value"] is None:
        return ""
    interval = "" if cell["low"] is None else f" ({cell['low']:.3g} to {cell['high']:.3g})"
    return f"{cell['value']:.3g}{interval}"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested options under their dotted names."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _use(views: list[str]) -> str:
    target, *given = views
    return "\n".join(
        [
            "```sh",
            f"counterpoint retrieve RUN --target {target} --given {','.join(given)} --rows new.parquet",
            "counterpoint embed RUN new.parquet -o vectors.parquet",
            "```",
        ]
    )


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
