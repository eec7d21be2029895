"""The command `topics`: it reads its arguments, calls `serving.topics` and prints."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from counterpoint.console import AsJson, Quiet, cell, lively, print_json, print_table, remark

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def topics(
    corpus: Annotated[
        Path, typer.Argument(metavar="CORPUS", help="Documents: CSV, TSV, JSON lines, Parquet, or .txt, one a line.")
    ],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options of the reader and of gctm-ot.")
    ] = None,
    goal: Annotated[str, typer.Option(help='What the topics shall answer: "what is bothering people?".')] = ...,  # type: ignore[assignment]
    k: Annotated[int, typer.Option("-k", help="How many topics.")] = 20,
    text: Annotated[str | None, typer.Option(metavar="COL", help="The column that has the texts.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A language model that looks for what speaks to the goal: http://host:port/v1#model, smollm2, a "
            "folder or a hub id; without one it is found by vectors.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until a call of the model is late.")] = 60.0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder (default: runs/CORPUS-topics).")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A .parquet or .jsonl file for the documents' topics."),
    ] = None,
    seed: Annotated[int, typer.Option(help="What all randomness follows from.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that stands in --out.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute.")] = "auto",
    precision: Annotated[Literal["32-true", "bf16-mixed"], typer.Option(help="How numbers are kept.")] = "32-true",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the topics of documents that answer a goal, with their words and documents, as data and as a page.

    A language model's answers are kept: a run that was stopped asks for nothing twice.
    """
    from counterpoint.serving import topics as answering

    named = [f"topics={k}", *([f"view.text={text}"] if text is not None else [])]
    request = answering.Topics(
        corpus=corpus,
        goal=goal,
        out=out or Path("runs") / f"{corpus.stem}-topics",
        given=[*named, *(options or [])],
        model=model,
        documents=output,
        timeout=timeout,
        seed=seed,
        device=device,
        precision=precision,
        resume=resume,
        progress=lively(quiet),
    )
    found = answering.topics(request, say=remark(quiet))
    if as_json:
        print_json(found)
        return
    lines = [
        [
            str(one["topic"]),
            str(one["documents"]),
            cell(one["goal_alignment"]),
            ", ".join(word for word, _ in one["words"][:8]),
        ]
        for one in found["topics"]
    ]
    print_table(("topic", "documents", "alignment", "words"), lines)
    typer.echo(f"{found['off_goal']} of {found['documents']} documents say nothing near the goal")
    against = found["against"]
    rows = [
        [name, cell(one["value"]), *([cell(against["measures"][name]["value"])] if against else [])]
        for name, one in found["measures"].items()
    ]
    print_table(("measure", "topics", *(["clusters of the phrases"] if against else [])), rows)
    for name in ("documents_file", "page"):
        typer.echo(found[name])
