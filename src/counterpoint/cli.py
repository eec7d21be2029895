"""The command line: each command reads its arguments, calls `jobs` and prints; torch is imported only there."""

import gc
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from counterpoint import catalog, cli_agents, cli_topics, cli_use, launch
from counterpoint.console import AsJson, Quiet, RunFolder, cell, lively, names, print_json, print_table, remark
from counterpoint.errors import UserError

gc.set_threshold(100_000)  # what imports make stays: to look for garbage there costs a fifth of `list`

app = typer.Typer(
    help="Contrastive learning for every kind of data, with claims that can fail.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A table: CSV, TSV, Parquet, Arrow or npz.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute.")]
Split = Annotated[
    str | None,
    typer.Option(help="Shares of the rows, train=.6,validation=.2,test=.2; of events leave-one-out, last-N, time=.."),
]
Precision = Annotated[Literal["32-true", "bf16-mixed"], typer.Option(help="How numbers are kept.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a mistake the user can mend, 130 after Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")):
        os.environ.setdefault(name, value)  # on a busy machine, threads that spin while they wait cost tenfold
    try:
        code = app(given, prog_name="counterpoint", standalone_mode=False) or 0
        sys.stdout.flush()
    except UserError as mistake:
        return _complain(str(mistake), 2)
    except typer.TyperException as misuse:
        return _complain(misuse.format_message(), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    if code == 130:
        resume = [*given, *([] if "--resume" in given else ["--resume"])]
        again = f"; go on with: counterpoint {shlex.join(resume)}" if given[0] in ("fit", "improve") else ""
        return _complain(f"stopped{again}", 130)
    return int(code)


@app.command("list")
def list_methods(
    method: Annotated[str | None, typer.Argument(metavar="[METHOD]", help="Show one method's options.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every method, or one method's options."""
    if method is not None:
        _list_options(method, as_json)
        return
    found = [
        {**asdict(row), "data": row.data.partition(":")[2], "verdict": catalog.latest_verdict(row.name)}
        for row in catalog.rows().values()
    ]
    if as_json:
        print_json(found)
    else:
        columns = ("name", "wing", "data", "status", "paper", "verdict", "summary")
        shown = [{**row, "verdict": row["verdict"] or ("not run" if row["claim"] else "no claim")} for row in found]
        print_table(columns, [[str(row[name]) for name in columns] for row in shown])


@app.command()
def fit(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A name that list shows.")],
    data: Data,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Options of the data's reader and of the method."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The run folder to write.")] = ...,  # type: ignore[assignment]
    seed: Annotated[int, typer.Option(help="What all randomness follows from.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that stands in --out.")] = False,
    split: Split = None,
    group: Annotated[str | None, typer.Option(metavar="COL", help="Rows equal here stay on one side.")] = None,
    validation: Annotated[Path | None, typer.Option(help="Validation rows from a file of their own.")] = None,
    test: Annotated[Path | None, typer.Option(help="Test rows from a file of their own.")] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COL", help="Classes to learn, or to probe the vectors with.")
    ] = None,
    picture: Annotated[
        str | None, typer.Option(metavar="VIEW:ROWSxCOLUMNS", help="Show this view as a picture, such as pix:16x15.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "32-true",
    chunk: Annotated[int, typer.Option(min=0, help="Rows an encoder takes at a time, to save memory; 0: all.")] = 0,
    save_every: Annotated[int, typer.Option(min=0, help="Steps between checkpoints within an epoch.")] = 0,
    track: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Log to tensorboard or mlflow; may be given twice.")
    ] = None,
    ranks: Annotated[int, typer.Option(min=1, help="Local processes that share the work.")] = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a method, judge it, and leave a run folder with a report.

    Rows held out for testing are judged beside a closed-form baseline fitted on the same training rows.
    """
    if ranks > 1 and launch.world() == 1:
        sys.exit(launch.start(ranks, sys.argv[1:]))
    from counterpoint import jobs

    request = jobs.Fit(
        method=method,
        data=data,
        out=out,
        options=[*(options or []), *([f"group={group}"] if group is not None else [])],
        seed=seed,
        resume=resume,
        split=split,
        validation=validation,
        test=test,
        label=label,
        picture=picture,
        device=device,
        precision=precision,
        chunk=chunk,
        save_every=save_every,
        progress=lively(quiet),
        track=track or (),
    )
    result = jobs.fit(request, say=remark(quiet))
    if launch.is_first():
        _show_result(result, as_json)


@app.command()
def plan(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A name that list shows.")],
    data: Data,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Options of the data's reader and of the method."),
    ] = None,
    split: Split = None,
    device: Device = "auto",
    precision: Precision = "32-true",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what a fit will need in memory and time, and what to switch on; trains nothing."""
    from counterpoint import jobs

    found = jobs.plan(method, data, options or [], split, device, precision, say=remark(quiet))
    if as_json:
        print_json(found.as_json())
    else:
        typer.echo("\n".join(found.words()))


@app.command()
def evaluate(run: RunFolder, data: Data, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Judge a fitted run on a table."""
    from counterpoint import jobs

    _show_result(jobs.evaluate(run, data, say=remark(quiet)), as_json)


@app.command()
def embed(
    run: RunFolder,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A Parquet file to write.")],
    given: Annotated[
        str | None, typer.Option(metavar="VIEW,VIEW", help="The views to use; all of the run when left out.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write each row's joint vector and one vector per view; when stopped, goes on where it was."""
    from counterpoint import jobs

    views = names(given) if given is not None else None
    written = jobs.embed(run, data, output, views, progress=lively(quiet), say=remark(quiet))
    typer.echo(str(written))


@app.command()
def retrieve(
    run: RunFolder,
    target: Annotated[str, typer.Option(metavar="VIEW", help="The view to find.")],
    given: Annotated[str, typer.Option(metavar="VIEW,VIEW", help="The views to find it from.")],
    rows: Annotated[Path, typer.Option(metavar="FILE", help="The rows to find it for.")],
    candidates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to look; the run's own rows when left out.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many to find for each row.")] = 10,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find one view of each row from other views of it."""
    from counterpoint import jobs

    found = jobs.retrieve(run, target, names(given), rows, candidates, k, say=remark(quiet))
    if as_json:
        print_json(found)
    else:
        lines = [
            [str(query["id"]), str(place), str(hit["id"]), f"{hit['score']:.4f}"]
            for query in found
            for place, hit in enumerate(query["found"], start=1)
        ]
        print_table(("row", "rank", f"{target} of", "score"), lines)


@app.command()
def verify(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method with claims, or one claim by its name.")],
    quick: Annotated[bool, typer.Option("--quick", help="The claim's short form.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Arms fitted at once.")] = 2,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where finished arms and the result go.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run what a method's paper claims, and say whether it holds."""
    from counterpoint import jobs

    results = jobs.verify(method, quick=quick, workers=workers, out=out, progress=lively(quiet))
    if as_json:
        print_json(results)
        return
    columns = ("prediction", "value", "low", "high", "verdict")
    for result in results:
        typer.echo(f"{result['name']}: {result['verdict']}")
        print_table(columns, [[cell(line.get(name)) for name in columns] for line in result["predictions"]])


@app.command()
def report(run: RunFolder) -> None:
    """Write a run's report page again and print its path."""
    from counterpoint import jobs

    typer.echo(str(jobs.report(run)))


def _list_options(name: str, as_json: bool) -> None:
    from counterpoint import options

    row = catalog.row(name)
    reader = list(options.describe(options.reader_model(row.reader())))
    own = list(options.describe(row.load().Config))
    if as_json:
        print_json({"reader": [asdict(option) for option in reader], "method": [asdict(option) for option in own]})
        return
    typer.echo(f"{row.name}: {row.summary} ({row.paper}, {row.status})")
    for title, described in ((f"reader of {row.data.partition(':')[2]}", reader), ("method", own)):
        lines = [[option.name, option.default, option.kind, option.about] for option in described]
        print_table((f"option of the {title}", "default", "values", "meaning"), lines)


app.add_typer(cli_use.app)
app.add_typer(cli_topics.app)
app.add_typer(cli_agents.app)


def _show_result(result: Mapping[str, Any], as_json: bool) -> None:
    """Measures with their intervals; beside them those of the baseline, when there is one."""
    if as_json:
        print_json(result)
        return
    against = result.get("against") or {}
    columns = ["measure", result["method"], "95 % interval"]
    columns += [against["name"], "difference", "95 % interval"] if against else []
    lines = []
    for name, value in result["measures"].items():
        line = [name, cell(value["value"]), _interval(value)]
        if against:
            difference = against["difference"].get(name, {})
            line += [cell(against["measures"].get(name, {}).get("value")), cell(difference.get("value"))]
            line += [_interval(difference)]
        lines.append(line)
    print_table(columns, lines)
    if result.get("report"):
        typer.echo(f"report: {result['report']}")


def _interval(value: Mapping[str, Any]) -> str:
    return f"{value['low']:.4g} to {value['high']:.4g}" if value.get("low") is not None else ""


def _complain(text: str, code: int) -> int:
    if launch.is_first():
        sys.stderr.write(f"counterpoint: {' '.join(text.split())}\n")
    return code
