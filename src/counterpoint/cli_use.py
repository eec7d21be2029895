"""The commands that use a fitted run: each reads its arguments, calls `serving` and prints."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from counterpoint.console import AsJson, Quiet, RunFolder, brief, cell, lively, names, print_json, print_table, remark

app = typer.Typer(rich_markup_mode=None, add_completion=False)

WIDEST = 90
"""Letters of a text in a table."""
IndexPlace = Annotated[str, typer.Argument(metavar="INDEX", help="A folder that index wrote, or qdrant:URL/NAME.")]


@app.command()
def index(
    vectors: Annotated[Path, typer.Argument(metavar="VECTORS", help="A Parquet file that embed wrote.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="A folder (default: VECTORS.index) or qdrant:URL/NAME."),
    ] = None,
    view: Annotated[str, typer.Option(metavar="VIEW", help="Which vectors: the joint ones, or a view's.")] = "joint",
    kind: Annotated[
        Literal["auto", "exact", "ivf", "hnsw"], typer.Option(help="auto: exact, or approximate when there are many.")
    ] = "auto",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of an index that stands there.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make vectors searchable, and say how exact the search is."""
    from counterpoint.serving import search as searching

    made = searching.build(vectors, output, view=view, kind=kind, replace=replace, say=remark(quiet))
    if as_json:
        print_json(made)
    else:
        typer.echo(made["index"])


@app.command()
def search(
    place: IndexPlace,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="id:ROW, a file, a record as JSON, or a text.")],
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="The run whose vectors these are.")] = None,
    given: Annotated[
        str | None, typer.Option(metavar="VIEW,VIEW", help="The views of a file's rows to use; all when left out.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many to find.")] = 10,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COL=VALUE", help="Only such rows: col=a, col=a,b, col>=1, col<=2.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the rows of an index nearest to a row, a text or the rows of a file."""
    from counterpoint.serving import search as searching

    views = names(given) if given is not None else None
    found = searching.search(place, query, run=run, k=k, where=where or [], given=views, say=remark(quiet))
    if as_json:
        print_json(found)
        return
    columns = found[0]["found"][0]["metadata"] if found and found[0]["found"] else {}
    lines = [
        [
            cell(asked["query"]),
            str(place),
            cell(hit["id"]),
            f"{hit['score']:.4f}",
            *map(brief, hit["metadata"].values()),
        ]
        for asked in found
        for place, hit in enumerate(asked["found"], start=1)
    ]
    print_table(("query", "rank", "id", "score", *columns), lines)


@app.command()
def recommend(
    run: RunFolder,
    user: Annotated[
        list[str] | None, typer.Option(metavar="USER", help="A user of the run's data; may be given again.")
    ] = None,
    history: Annotated[
        str | None, typer.Option(metavar="ITEM,ITEM", help="What somebody took, oldest first; empty: nothing known.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Lists for everybody, as a Parquet file.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Events of the people for --output; the run's own by default.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many for each.")] = 10,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Items of a history may be listed.")] = False,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COL=VALUE", help="Only such items: col=a, or col=a,b for either.")
    ] = None,
    allow: Annotated[str | None, typer.Option(metavar="ITEM,ITEM", help="The only items that may be listed.")] = None,
    diversity: Annotated[float, typer.Option(min=0, max=1, help="0: none, 1: as unlike as can be.")] = 0.0,
    popularity: Annotated[float, typer.Option(help="What popular items lose by; below 0 they gain.")] = 0.0,
    reasons: Annotated[int, typer.Option(min=0, help="Items of the history told as why.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what users, or somebody with a history, may want next, when the run's method recommends."""
    from counterpoint.errors import UserError
    from counterpoint.serving import recommend as recommending

    conditions = dict(condition.partition("=")[::2] for condition in where or [])
    if unclear := next((name for name, values in conditions.items() if not (name and values)), None):
        raise UserError(f"--where {unclear}: write col=value")
    wishes: dict[str, Any] = {
        "k": k,
        "exclude_seen": not keep_seen,
        "where": {name: names(values) for name, values in conditions.items()},
        "allow": names(allow) if allow is not None else None,
        "diversity": diversity,
        "popularity": popularity,
    }
    if output is not None:
        if user or history is not None or reasons:
            raise UserError("--output is for everybody: leave out --user, --history and --reasons")
        made = recommending.everybody(run, output, data, **wishes, say=remark(quiet))
        print_json(made) if as_json else typer.echo(made["file"])
        return
    whom = names(history) if history else ([] if history == "" else None)
    found = recommending.recommend(run, user or [], whom, reasons=reasons, **wishes)
    if as_json:
        print_json(found)
        return
    hits = [
        (asked["user"] or "(new)", place, hit) for asked in found for place, hit in enumerate(asked["found"], start=1)
    ]
    titled = any("title" in hit for *_, hit in hits)
    columns = ["user", "rank", "id", *(["title"] if titled else []), "score", *(["because of"] if reasons else [])]
    lines = []
    for who, place, hit in hits:
        because = ", ".join(str(near.get("title", near["id"])) for near in hit.get("reasons", ()))
        line = [
            who,
            str(place),
            cell(hit["id"]),
            *([str(hit.get("title", ""))] if titled else []),
            f"{hit['score']:.4f}",
        ]
        lines.append([*line, *([because] if reasons else [])])
    print_table(columns, lines)


@app.command()
def predict(
    run: RunFolder,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Rows in a form that the run can read.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A Parquet file to write.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say which class each row is, how likely, and how much each view counted, when the run's method predicts."""
    from counterpoint.serving.predict import predict as said_of

    found = said_of(run, data, output, say=remark(quiet))
    if as_json:
        print_json(found)
    elif output is not None:
        typer.echo(str(output))
    else:
        parts = [part for part in ("probabilities", "weights", "variances") if found and part in found[0]]
        words = {"probabilities": "probability", "weights": "weight", "variances": "variance"}
        columns = ["id", "label", *(f"{words[part]} {name}" for part in parts for name in found[0][part])]
        lines = [[row["id"], row["label"], *(value for part in parts for value in row[part].values())] for row in found]
        print_table(columns, [[cell(value) for value in line] for line in lines])


@app.command()
def cluster(
    run: RunFolder,
    data: Annotated[Path, typer.Argument(metavar="CLAIMS", help="Texts: CSV, TSV, JSON lines, Parquet or Arrow.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A .csv, .tsv or .parquet file to write.")
    ] = None,
    algorithm: Annotated[
        str,
        typer.Option(
            help="kmeans, average, complete, dbscan, hdbscan, birch, affinity, near-duplicates (any number of texts); "
            "auto: what does best on the run's development texts and has room."
        ),
    ] = "auto",
    threshold: Annotated[
        float | None,
        typer.Option(help="Least cosine of texts that belong together; else that of the development texts."),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="So many clusters (kmeans, average, complete, birch).")] = None,
    text: Annotated[str | None, typer.Option(metavar="COL", help="The column that has the texts.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Group the texts of a file that say the same, when the run's method clusters."""
    from counterpoint.serving import cluster as clustering

    wish = clustering.Wish(algorithm, threshold, k)
    made = clustering.cluster(run, data, output, wish, text, progress=lively(quiet), say=remark(quiet))
    if as_json:
        print_json(made)
        return
    lines = [[str(one["cluster"]), str(one["rows"]), _short(one["medoid"])] for one in made["largest"]]
    print_table(("cluster", "rows", "the text that stands for it"), lines)
    typer.echo(f"{made['texts']} different texts in {made['clusters']} clusters by {made['algorithm']}")
    if output is not None:
        typer.echo(made["file"])


@app.command()
def impute(
    run: RunFolder,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Rows, some of which lack the view.")],
    target: Annotated[str, typer.Option(metavar="VIEW", help="The view to fill in.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A Parquet file to write.")],
    known: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows to take values from; the run's own data when left out.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many rows a value is put together from.")] = 10,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fill in a view that rows lack, from the known rows that fit their other views best."""
    from counterpoint.serving.impute import impute as filled_in

    made = filled_in(run, data, target, output, known, k, say=remark(quiet))
    if as_json:
        print_json(made)
    else:
        typer.echo(made["file"])


@app.command()
def guard(
    classifier: Annotated[
        str, typer.Argument(metavar="CLASSIFIER", help="A folder with a transformers classifier of texts.")
    ],
    texts: Annotated[Path, typer.Argument(metavar="TEXTS", help="Texts it meets: CSV, TSV, JSON lines or Parquet.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options of the reader and of the guardrail.")
    ] = None,
    support: Annotated[Path, typer.Option(metavar="FILE", help="Some 40 such texts with their labels.")] = ...,  # type: ignore[assignment]
    out: Annotated[Path, typer.Option(metavar="DIR", help="The run folder to write.")] = Path("runs/guard"),
    label: Annotated[str | None, typer.Option(metavar="COL", help="The column of the labels (default: label).")] = None,
    text: Annotated[str | None, typer.Option(metavar="COL", help="The column that has the texts.")] = None,
    seed: Annotated[int, typer.Option(help="What all randomness follows from.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that stands in --out.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute.")] = "auto",
    precision: Annotated[Literal["32-true", "bf16-mixed"], typer.Option(help="How numbers are kept.")] = "32-true",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Free a shipped classifier of words it leans on, without its training data.

    Leaves an adapter for peft, the merged classifier for transformers, and a page with the words marked.
    """
    from counterpoint.serving import shortcuts

    named = [f"{name}={value}" for name, value in (("label", label), ("view.text", text)) if value is not None]
    request = shortcuts.Guard(
        classifier=classifier,
        texts=texts,
        support=support,
        out=out,
        given=[*(options or []), *named],
        seed=seed,
        device=device,
        precision=precision,
        resume=resume,
        progress=lively(quiet),
    )
    made = shortcuts.guard(request, say=remark(quiet))
    if as_json:
        print_json(made)
        return
    found, before = made["assessment"]["shortcuts"], made["against"]["measures"]
    typer.echo(f"alpha {found['alpha']:g}, by {found['support']} labelled texts")
    lines = [[name, cell(before[name]["value"]), cell(one["value"])] for name, one in made["measures"].items()]
    print_table((f"on the {made['judged_on']}", "before", "after"), lines)
    words = ", ".join(one["word"] for one in found["words"][:8])
    typer.echo(f"words it leaned on: {words or 'none'}")
    for name in ("adapter", "merged", "report"):
        if made[name]:
            typer.echo(f"{name}: {made[name]}")


@app.command()
def rewrite(
    run: RunFolder,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A file of text, a table of texts, or - (stdin).")],
    epsilon: Annotated[float, typer.Option(help="The privacy budget of each span; the smaller, the less is told.")],
    proposer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="words (a public list), trained (the run's own model), smollm2 or a folder (a model in this process), "
            "http://host:port/v1#model (gives phrases, is never shown the text); auto: the run's own, or words.",
        ),
    ] = "auto",
    length: Annotated[
        int | None, typer.Option(metavar="N", help="Words or tokens of a replacement; each costs epsilon / N.")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A public list of replacements, one per line.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A file for the text, or .json for all.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A page for the owner of the text, with the found spans marked.")
    ] = None,
    column: Annotated[str | None, typer.Option("--text", metavar="COL", help="The column that has the texts.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Repeats the draws; who knows it can undo them. Left out: secret randomness."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Replace the private spans of a text under a privacy budget, and say what exactly that guarantees.

    The new text goes to stdout or --output, the statement to stderr (even with --quiet).
    """
    from counterpoint.serving import rewrite as rewriting

    wish = rewriting.Wish(epsilon, proposer, length, vocabulary, seed)
    made = rewriting.rewrite(run, text, wish, output, page, column, say=remark(quiet))
    if as_json:
        print_json(made)
    elif output is not None:
        typer.echo(str(output))
    else:
        new = rewriting.plain_text(made["texts"])
        typer.echo(new, nl=not new.endswith("\n"))
    if not as_json:
        typer.echo("\n".join(made["statement"]), err=True)
    if page is not None and not as_json:
        typer.echo(f"page: {made['page']}", err=True)


@app.command()
def explain(run: RunFolder, as_json: AsJson = False) -> None:
    """Say what is shared by which views, when the run's method knows, and draw it."""
    from counterpoint import jobs

    found = jobs.explain(run)
    if as_json:
        print_json(found)
        return
    views = found["views"]
    agrees = any(part.get("agreement") is not None for part in found["structures"])
    lines = [
        [
            part["name"],
            str(part["rank"]),
            *(f"{100 * part['share'][view]:.1f} %" if view in part["share"] else "" for view in views),
            *([cell(part["agreement"])] if agrees else []),
            ", ".join(f"{one['column']} {100 * one['share']:.0f} %" for one in part["columns"][:3]),
        ]
        for part in found["structures"]
    ]
    rest = [f"{100 * found['unexplained'][view]:.1f} %" for view in views]
    lines.append(["(none)", "", *rest, *([""] if agrees else []), ""])
    print_table(("structure", "factors", *views, *(["agreement"] if agrees else []), "columns"), lines)
    typer.echo(f"page: {found['page']}")


@app.command()
def corrupt(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A table, in a form that fit can read.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A Parquet file to write.")],
    options: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Its reader's options.")] = None,
    how: Annotated[
        Literal["swap", "hide", "noise", "drop", "exchange"],
        typer.Option(
            help="Another row's view, no view or noise in its place; with --strength: noise added, parts lost."
        ),
    ] = "swap",
    views: Annotated[
        str | None, typer.Option(metavar="VIEW,VIEW", help="One of these views is hit; any when left out.")
    ] = None,
    share: Annotated[float, typer.Option(help="The share of rows that are hit, drawn at random.")] = 0.3,
    strength: Annotated[
        float | None, typer.Option(help="Deviations of noise added, or the share of words, tokens or numbers hit.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What the drawing follows from.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make one view of some rows wrong, worse or missing, to see what a method does then; column corrupt says where."""
    from counterpoint.serving.corrupt import corrupt as damage

    chosen = names(views) if views is not None else None
    made = damage(data, options or [], output, how, chosen, share, seed, strength)
    if as_json:
        print_json(made)
    else:
        typer.echo(made["file"])


@app.command()
def export(
    run: RunFolder,
    to: Annotated[
        Literal["safetensors", "onnx", "sentence-transformers", "transformers"],
        typer.Option(help="What shall read the files."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A new folder to write.")],
    as_json: AsJson = False,
) -> None:
    """Write a run's method for other tools, with a model card; its vectors are compared first."""
    from counterpoint.serving.export import export as write

    made = write(run, to, output)
    if as_json:
        print_json(made)
    else:
        typer.echo(made["folder"])


@app.command()
def serve(
    run: RunFolder,
    index: Annotated[
        Path | None, typer.Option(metavar="INDEX", help="A folder that index wrote, to search in.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0: all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0: a free one.")] = 8000,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A host name to answer to, beside this machine's own.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A web origin whose pages may ask; none by default.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0, help="Requests a second from one address; 0: any number.")] = 1000.0,
    body: Annotated[float, typer.Option(min=0.001, help="The largest request, in MiB.")] = 4.0,
) -> None:
    """Answer over HTTP: vectors, search, and a page to look around in.

    Requests need the bearer token that the environment variable COUNTERPOINT_TOKEN holds, when it is set.
    """
    from counterpoint.errors import need

    for module in ("fastapi", "uvicorn", "prometheus_client"):
        need(module, "serve")
    from counterpoint.serving import server

    server.serve(run, index, host, port, server.settings(host, name or [], origin or [], rate, body), say=typer.echo)


def _short(text: str) -> str:
    """One line of a text, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= WIDEST else line[: WIDEST - 1] + "…"
