"""Commands for which a language model is asked: each reads its arguments, calls a wing or a run, and prints."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from counterpoint.console import AsJson, Quiet, RunFolder, cell, lively, print_json, print_table, remark

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def improve(
    questions: Annotated[Path, typer.Argument(metavar="QUESTIONS", help="JSON lines, CSV, TSV or Parquet.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options of the reader and of tf-ttcl.")
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="http://host:port/v1#model, smollm2, a folder or a hub id.")
    ] = "smollm2",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder to write (default: runs/QUESTIONS-improved).")
    ] = None,
    seed: Annotated[int, typer.Option(help="What all randomness follows from.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that stands in --out.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Answer a stream of questions with a frozen model that learns rules on the way, and keep the rules.

    Every question is saved; a run that was stopped goes on with --resume and asks nothing twice.
    """
    from counterpoint import jobs

    request = jobs.Fit(
        method="tf-ttcl",
        data=questions,
        out=out or Path("runs") / f"{questions.stem}-improved",
        options=[f"model={model}", *(options or [])],
        seed=seed,
        resume=resume,
        save_every=1,
        progress=lively(quiet),
    )
    made = jobs.fit(request, say=remark(quiet))
    if as_json:
        print_json(made)
        return
    print_table(("measure", "value"), [[name, cell(one["value"])] for name, one in made["measures"].items()])
    found = made["assessment"]
    rules = sorted(found["rules"], key=lambda rule: -rule["used"])
    print_table(("bank", "used", "rule"), [[rule["bank"], str(rule["used"]), rule["text"]] for rule in rules[:10]])
    costs = found["costs"]
    tokens = costs["prompt_tokens"] + costs["completion_tokens"]
    typer.echo(f"{len(rules)} rules from {costs['calls']} calls, {tokens} tokens; {costs['failures']} calls failed")
    typer.echo(f"run: {made['run']}")
    if made.get("report"):
        typer.echo(f"report: {made['report']}")


@app.command()
def advise(
    run: RunFolder,
    task: Annotated[list[str], typer.Argument(metavar="TASK...", help="What is to be done, in words.")],
    as_json: AsJson = False,
) -> None:
    """Write guidance for tasks, when the run's method advises."""
    from counterpoint.serving.search import require
    from counterpoint.training import load

    method: Any = require(load(run), "advise")
    found = method.advise(task)
    if as_json:
        print_json([{"task": one, "guidance": text} for one, text in zip(task, found, strict=True)])
    else:
        typer.echo("\n".join(found))


@app.command()
def decouple(
    nodes: Annotated[Path, typer.Argument(metavar="NODES", help="A graph whose nodes have texts, as fit reads it.")],
    task: Annotated[str, typer.Option(help="The domain and what is to be told apart, never a node's class.")],
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="What decoupled=FILE then reads.")],
    edges: Annotated[Path | None, typer.Argument(metavar="EDGES", help="Its table of edges.")] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="http://host:port/v1#model, smollm2, a folder or a hub id.")
    ] = "smollm2",
    text: Annotated[str | None, typer.Option(metavar="COL", help="The column that has the texts.")] = None,
    form: Annotated[
        Literal["json", "words"], typer.Option(help="What is asked for: both parts, or the words that matter most.")
    ] = "json",
    longest: Annotated[int, typer.Option(min=1, help="Letters of a text that the model is shown.")] = 2000,
    as_json: AsJson = False,
) -> None:
    """Let a language model split the texts of a graph's nodes into signal and noise, for sdm-scr.

    What the file holds already is not asked again, unless there was no answer.
    """
    from counterpoint.graphs.decouple import by_model
    from counterpoint.graphs.graph import AttributedGraph
    from counterpoint.language import open_model

    graph = AttributedGraph.read(nodes, edges=None if edges is None else str(edges), text=text)
    counts = by_model(graph, open_model(model)[0], task, out, longest, form=form)
    if as_json:
        print_json(dict(counts))
    else:
        print_table(("what became of it", "nodes"), [[what, str(count)] for what, count in counts.items()])
        typer.echo(str(out))
