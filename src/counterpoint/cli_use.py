"""The commands that use a fitted run: each reads its arguments, calls `serving` and prints."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from counterpoint.console import AsJson, Quiet, RunFolder, cell, names, print_json, print_table, remark

app = typer.Typer(rich_markup_mode=None, add_completion=False)

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
        [cell(asked["query"]), str(place), cell(hit["id"]), f"{hit['score']:.4f}", *map(cell, hit["metadata"].values())]
        for asked in found
        for place, hit in enumerate(asked["found"], start=1)
    ]
    print_table(("query", "rank", "id", "score", *columns), lines)


@app.command()
def recommend(
    run: RunFolder,
    user: Annotated[list[str], typer.Option(metavar="USER", help="Whom to recommend to; may be given again.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many for each.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Say what each user may want next, when the run's method recommends."""
    from counterpoint.serving import search as searching

    found = searching.recommend(run, user, k)
    if as_json:
        print_json(found)
        return
    lines = [
        [asked["user"], str(place), cell(hit["id"]), f"{hit['score']:.4f}"]
        for asked in found
        for place, hit in enumerate(asked["found"], start=1)
    ]
    print_table(("user", "rank", "id", "score"), lines)


@app.command()
def export(
    run: RunFolder,
    to: Annotated[
        Literal["safetensors", "onnx", "sentence-transformers"], typer.Option(help="What shall read the files.")
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
