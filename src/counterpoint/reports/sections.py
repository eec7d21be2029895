"""The sections on training, on the space and on how both were made."""

from collections.abc import Sequence
from typing import Any

from counterpoint.reports import figures, people
from counterpoint.reports.folder import Folder
from counterpoint.reports.markup import Html, chooser, join, panel, table, tag
from counterpoint.reports.parts import Section, absent, charts, details
from counterpoint.reports.words import MEANING, listed, measured, number, title


def curves(folder: Folder) -> Section:
    """Show how training went."""
    losses, metrics = figures.loss_curves(folder.events), figures.metric_curves(folder.events)
    if not losses and not metrics:
        return absent("curves", "Learning curves", "metrics.jsonl holds no training events, so there are no curves.")
    parts = [tag("h3", "Loss, its terms and what was watched"), charts(losses)] if losses else []
    if metrics:
        parts += [tag("h3", "On the validation rows"), charts(metrics)]
    if once := {name: f"{value:.3g}" for name, value in figures.measured_once(folder.events).items()}:
        parts.append(details("Measured once", once, shown=True))
    return Section("curves", "Learning curves", join(parts))


def space(folder: Folder, shown: dict[str, Any] | None) -> Section:
    """Leave the place for the map of the joint space, with its controls."""
    heading = "Map of the items" if people.lists_of(folder) else "Map of the joint space"
    if shown is None:
        return absent("map", heading, "The run holds no embeddings.parquet, so there is nothing to draw a map of.")
    names = [column["name"] for column in shown["columns"]]
    colours = (tag("option", name, value=i, selected=name == shown["first"]) for i, name in enumerate(names))
    controls = (
        [tag("label", "Colour by ", tag("select", *colours, id="colour", autocomplete="off"), class_="chooser")]
        if names
        else []
    )
    controls.append(
        tag(
            "label", "Find id ", tag("input", id="find", type="search", size="12", autocomplete="off"), class_="chooser"
        )
    )
    buttons = (("in", "+", "Zoom in"), ("out", "\N{MINUS SIGN}", "Zoom out"), ("all", "All", "Show all rows"))
    zoom = (tag("button", text, type="button", data_zoom=key, aria_label=label) for key, text, label in buttons)
    bar = tag("div", *controls, tag("span", *zoom, class_="buttons"), class_="bar")
    help_ = "Map: with the arrow keys go from row to row, with + and - zoom, with Escape let go"
    field = tag("div", id="field", tabindex="0", role="application", aria_label=help_)
    card = tag(
        "aside",
        tag("p", "Point at a row, or move with the arrow keys.", class_="note"),
        id="card",
        aria_live="polite",
    )
    how = tag("p", f"{shown['how']}. Distances between far groups mean little on such a map.", class_="note")
    whole = [bar, tag("div", id="legend"), tag("div", field, card, class_="map"), how]
    return Section("map", heading, join(whole))


def finder(folder: Folder) -> Section:
    """Leave the place for true and found rows side by side, with a chooser of what is given."""
    examples = shown_examples(folder)
    thing = "picture" if folder.pictures else "row"
    if not examples:
        why = f"The evaluation holds no examples, so no {thing}s can be shown side by side."
        return absent("finder", f"Find the {thing} from another view", why)
    routes = {_route(one): " + ".join(one["given"]) for one in examples}
    options = (tag("option", route, value=route, data_given=given) for route, given in routes.items())
    control = tag(
        "label", "From which view to which ", tag("select", *options, id="given", autocomplete="off"), class_="chooser"
    )
    heading = join([f"Find the {thing} from ", tag("span", next(iter(routes.values())), id="from")])
    parts = [
        tag("div", control, class_="bar"),
        tag("p", "", id="tally", class_="note"),
        tag("div", id="found"),
    ]
    if not folder.pictures and not folder.words:
        parts.append(tag("p", "The run holds no pictures (display.parquet), so rows are shown by id.", class_="note"))
    return Section("finder", heading, join(parts))


def shown_examples(folder: Folder) -> list[dict[str, Any]]:
    """Give the examples that look for the view which is the picture, or all where there are none of those."""
    examples = folder.assessment.get("examples") or []
    return [one for one in examples if one["target"] == folder.picture_view] or examples


def matrix(folder: Folder) -> Section:
    """Show each view as a question and as an answer, then the questions of several views."""
    heading, tasks = "From each view to each other", folder.assessment.get("tasks") or []
    if not tasks:
        return absent("matrix", heading, "The evaluation holds no retrieval tasks, so there is no matrix.")
    single = {(task["given"][0], task["target"]): task for task in tasks if len(task["given"]) == 1}
    several = [task for task in tasks if len(task["given"]) > 1]
    names = [name for name in ("top1", "top5", "top10", "mrr") if any(name in task for task in tasks)]
    parts: list[Html] = []
    if single:
        parts.append(chooser("Measure", "matrix", {name: title(name) for name in names}))
        parts += [panel("matrix", name, _heat(single, name), name == names[0]) for name in names]
        parts.append(tag("p", "A row is the view that is given, a column the view that is looked for.", class_="note"))
    if several:
        parts += [tag("h3", "Given several views"), _several(several)]
    return Section("matrix", heading, join(parts))


def _heat(tasks: dict[tuple[str, str], dict[str, Any]], name: str) -> Html:
    """Tabulate one measure by given and target view, shaded by its value."""
    views = list(dict.fromkeys([given for given, _ in tasks] + [target for _, target in tasks]))
    rows = [[given, *(_shade(tasks.get((given, target)), name) for target in views)] for given in views]
    return table(["given ↓ found →", *views], rows, "heat")


def _shade(task: dict[str, Any] | None, name: str) -> Html:
    """Show one cell of the heat map."""
    value = (task or {}).get(name)
    if value is None:
        return tag("span", "·", class_="blank")
    text = number(value) if name == "mrr" else f"{100 * value:.1f}"
    return tag("span", text, style=f"--heat:{value:.3f}")


def _several(tasks: Sequence[dict[str, Any]]) -> Html:
    """Tabulate the tasks with several given views."""
    names = ["top1", "top5", "top10", "mrr", "median_rank", "candidates"]
    ordered = sorted(tasks, key=lambda task: (task["target"], len(task["given"]), -(task.get("top1") or 0)))
    rows = [[_route(task), *(measured(name, task.get(name)) for name in names)] for task in ordered]
    return table(["Given → found", *(title(name) for name in names)], rows, "numbers")


def _route(task: dict[str, Any]) -> str:
    """Write what is given and what is looked for."""
    return f"{' + '.join(task['given'])} → {task['target']}"


def geometry(folder: Folder) -> Section:
    """Show the shape of the space: a warning where there is one, then each number with its meaning."""
    found, clusters = folder.assessment.get("geometry") or {}, folder.assessment.get("clustering") or {}
    if not found and not clusters:
        why = "The evaluation holds no geometry, so the shape of the space is not described."
        return absent("geometry", "Shape of the space", why)
    warnings = [sentence for sentence in found.get("sentences") or [] if sentence.startswith("Warning")]
    parts = [tag("p", sentence, class_="remark") for sentence in warnings]
    parts.append(_cards(found, MEANING | _between(found.get("alignment_between"))))
    if clusters:
        parts += [tag("h3", "Clusters against labels"), _cards(clusters, MEANING)]
    return Section("geometry", "Shape of the space", join(parts))


def _between(views: Sequence[str] | None) -> dict[str, str]:
    """Say which views alignment was measured between."""
    return {"alignment": f"{MEANING['alignment']} Here between {listed(views)}."} if views else {}


def _cards(found: dict[str, Any], meaning: dict[str, str]) -> Html:
    """Show each number with its name and meaning."""
    numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
    cards = (
        tag("div", tag("dt", title(name)), tag("dd", number(value)), tag("dd", meaning.get(name, ""), class_="note"))
        for name, value in numbers.items()
    )
    return tag("dl", *cards, class_="cards") if numbers else Html()
