"""What is claimed of TF-TTCL with a small local model, and of CLEAR in the text world and on WebShop."""

import json
import os
from functools import cache, partial
from pathlib import Path

import numpy as np

from counterpoint.agents import environment, simulate
from counterpoint.agents.advice import CONCORDANCE, by_environment, by_runs
from counterpoint.agents.judge import GAIN, stream
from counterpoint.agents.questions import Questions
from counterpoint.agents.trajectories import Trajectories
from counterpoint.errors import UserError
from counterpoint.evaluation import Above, Arm, Better, Claim

MODEL = os.environ.get("COUNTERPOINT_MODEL", "smollm2")
"""The frozen model; a larger one behind an endpoint takes its place by this variable, with more and longer tasks."""
SMALL = MODEL == "smollm2"
SST2 = Path("sst2") / "clairett__pytorch-sentiment-classification" / "data" / "SST2" / "dev.tsv"
GSM8K = Path("gsm8k") / "openai__grade-school-math" / "grade_school_math" / "data" / "train.jsonl"
WEBSHOP = Path("trajectories") / "ysymyth__ReAct" / "webshop_react_trajectories.txt"
SHORT = 9
"""Words of the reviews that are asked about."""


def streams(seed: int, task: str, questions: int) -> tuple[Questions, Questions, Questions]:
    """The same questions for every seed, in another order for each."""
    data = _questions(task, questions).shuffled(seed)
    return data, data, data


def _questions(task: str, questions: int) -> Questions:
    if task == "sentiment":
        return reviews(questions)
    if task == "gsm8k":
        return school(questions)
    made: Questions = getattr(simulate, task)(questions, 0)
    return made


def reviews(count: int) -> Questions:
    """Short sentences of SST-2's development part: positive or negative?"""
    lines = _lines(SST2)
    rows = [line.split("\t") for line in lines]
    short = [(text, label) for text, label in rows if len(text.split()) <= SHORT][:count]
    texts = [f"Is this review positive or negative? {text}" for text, _ in short]
    answers = ["positive" if label == "1" else "negative" for _, label in short]
    return Questions.of(texts, answers, [("positive", "negative")] * len(short), source=f"sentiment({count})")


def school(count: int) -> Questions:
    """The shortest problems of GSM8K that take at most two calculations."""
    rows = [json.loads(line) for line in _lines(GSM8K)]
    easy = sorted((row for row in rows if row["answer"].count("<<") <= 2), key=lambda row: len(row["question"]))[:count]
    answers = [row["answer"].rpartition("####")[2].strip() for row in easy]
    return Questions.of([row["question"] for row in easy], answers, source=f"gsm8k({count})")


@cache
def _lines(path: Path) -> tuple[str, ...]:
    folder = os.environ.get("COUNTERPOINT_DATA")
    if not folder or not (Path(folder) / path).is_file():
        raise UserError(f"{path.name} is not here; set COUNTERPOINT_DATA to the folder that has {path}")
    return tuple((Path(folder) / path).read_text(encoding="utf-8").splitlines())


def worlds(seed: int, tasks: int) -> tuple[Trajectories, Trajectories, Trajectories]:
    """Six naive runs of each task of 28 templates; tasks of four, and of the last eight, templates to be judged on."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(environment.templates()))
    chosen = [environment.templates()[place] for place in order]
    parts = (chosen[:28], tasks, 6), (chosen[28:32], tasks, 1), (chosen[32:], tasks, 1)
    train, validation, test = (environment.runs(*part, seed=3 * seed + place) for place, part in enumerate(parts))
    return train, validation, test


def episodes(seed: int) -> tuple[Trajectories, Trajectories, Trajectories]:
    """WebShop's 500 episodes, goals divided by the seed."""
    _lines(WEBSHOP)
    whole = Trajectories.read(Path(os.environ["COUNTERPOINT_DATA"]) / WEBSHOP)
    parts = whole.split({"train": 0.6, "validation": 0.1, "test": 0.3}, seed=seed)
    return parts["train"], parts["validation"], parts["test"]


TASKS = ("larger",) if SMALL else ("larger", "units", "sentiment", "gsm8k")
QUESTIONS, FEWER = (24, 12) if SMALL else (150, 150)
CUT = "SmolLM2-135M in place of Qwen2.5-7B; {} short questions in three orders, a few of which share a pair of rules"
ASKED = {"model": MODEL, **({"max_tokens": 16, "context": 1400} if SMALL else {})}
STREAM_ARMS = (
    Arm("tf-ttcl", "tf-ttcl", about="rules from the best and against the worst answer"),
    Arm("no rules", "tf-ttcl", {"reflect": "none"}, role="placebo", about="equal samples, nothing learned"),
    Arm(
        "self-consistency",
        "tf-ttcl",
        {"reflect": "none", "variants": "none"},
        role="baseline",
        about="five answers to the question as it is",
    ),
    Arm("random rules", "tf-ttcl", {"retrieval": "random"}, role="placebo", about="any rules of the store"),
    Arm("latest rules", "tf-ttcl", {"retrieval": "latest"}, role="ablation", about="without retrieval by cosine (CRR)"),
    Arm("no variants", "tf-ttcl", {"variants": "none"}, role="ablation", about="without rewritten questions (QSA)"),
    Arm("no Tutor", "tf-ttcl", {"variants": "plain"}, role="ablation", about="one plain rewrite a call (TA)"),
    Arm("no negatives", "tf-ttcl", {"reflect": "positive"}, role="ablation", about="without contrast (CED)"),
    Arm("unsure negatives", "tf-ttcl", {"negatives": "unsure"}, role="ablation", about="greatest perplexity outside"),
    Arm("wrong rules", "tf-ttcl", {"wrong": 8}, role="ablation", about="eight wrong rules put in at the start"),
)
BASIC = ("tf-ttcl", "no rules", "self-consistency", "random rules")
SWITCHES = tuple(arm for arm in STREAM_ARMS if arm.name not in BASIC[1:] or arm.name == "no rules")

TF_TTCL = Claim(
    name="tf-ttcl",
    sentence="Over one pass and with equal samples, rules that a frozen model writes for itself raise its accuracy, "
    "and more so in the second half of the stream",
    source="arXiv 2604.13552; the model and the tasks are ours",
    arms=tuple(arm for arm in STREAM_ARMS if arm.name in BASIC),
    predictions=(
        Better("accuracy", "tf-ttcl", than="no rules"),
        Better("gain", "tf-ttcl", than="no rules"),
        Better("accuracy", "tf-ttcl", than="random rules"),
        Better("accuracy", "tf-ttcl", than="self-consistency", required=False),
        Better("teacher", "tf-ttcl", than="no rules", required=False),
    ),
    data=partial(streams, questions=QUESTIONS),
    judge=stream,
    measures=GAIN,
    seeds=(0, 1, 2),
    settings=tuple({"task": task} for task in TASKS),
    budget={**ASKED, "batch_size": 4 if SMALL else 1},
    cut=CUT.format(QUESTIONS) if SMALL else "",
    quick={
        "data": partial(streams, questions=8),
        "seeds": (0,),
        "settings": ({"task": TASKS[0]},),
        "budget": {**ASKED, "max_tokens": 12, "students": 2},
    },
)

TF_TTCL_SWITCHES = Claim(
    name="tf-ttcl-switches",
    sentence="Each part of TF-TTCL counts: without it, accuracy falls",
    source="arXiv 2604.13552, the released code's switches; the model and the task are ours",
    arms=SWITCHES,
    predictions=tuple(Better("accuracy", "tf-ttcl", than=arm.name) for arm in SWITCHES if arm.name != "tf-ttcl"),
    data=partial(streams, questions=FEWER),
    judge=stream,
    measures=GAIN,
    seeds=(0, 1, 2),
    settings=({"task": TASKS[0]},),
    budget={**ASKED, **({"batch_size": 3, "students": 2} if SMALL else {})},
    cut=f"{CUT.format(FEWER)}; two Students" if SMALL else "",
)

CLEAR_ARMS = (
    Arm("clear", "clear", about="SFT on contrastive reflections, then GRPO"),
    Arm("sft", "clear", {"rl_steps": 0}, role="ablation", about="SFT alone"),
    Arm(
        "success only",
        "clear",
        {"reflection": "success", "rl_steps": 0},
        role="ablation",
        about="SFT on reflections of good runs alone",
    ),
    Arm(
        "difference", "clear", {"reflection": "difference", "rl_steps": 0}, role="ablation", about="SFT on what differs"
    ),
    Arm("rl only", "clear", {"epochs": 0}, role="ablation", about="GRPO from the untrained model"),
    Arm("no context", "counterpoint.agents.baselines:NoContext", role="baseline", about="the naive executor"),
    Arm(
        "retrieval", "counterpoint.agents.baselines:Retrieval", role="baseline", about="reflections of the nearest task"
    ),
    Arm("playbook", "counterpoint.agents.baselines:Playbook", role="baseline", about="one guidance for all"),
    Arm(
        "wrong task",
        "counterpoint.agents.baselines:WrongTask",
        {"rl_steps": 0},
        role="placebo",
        about="SFT's guidance for another task",
    ),
)

CLEAR_APPS = Claim(
    name="clear",
    sentence="Guidance that a small model writes for the task at hand raises the success of a frozen executor on tasks "
    "of unseen templates over no guidance and over the reflections of the nearest task; contrast beats good runs, "
    "and GRPO adds to SFT",
    source="arXiv 2604.07487, the outline; the text world is ours",
    arms=CLEAR_ARMS,
    predictions=(
        Better("reward", "sft", than="no context"),
        Better("reward", "sft", than="retrieval"),
        Better("reward", "sft", than="success only"),
        Better("reward", "clear", than="sft"),
        Better("reward", "sft", than="wrong task"),
        Better("reward", "sft", than="playbook", required=False),
        Better("reward", "sft", than="difference", required=False),
        Better("reward", "clear", than="rl only", required=False),
        Better("success", "clear", than="no context", required=False),
    ),
    data=partial(worlds, tasks=4),
    judge=by_environment,
    seeds=(1, 2, 3, 4, 5),
    budget={"environment": "apps"},
    cut="a model of its own, 64 wide, in place of Qwen3-32B; 40 templates of a text world in place of AppWorld",
    quick={"seeds": (1, 2)},
)

CLEAR_WEBSHOP = Claim(
    name="clear-webshop",
    sentence="Guidance from runs of like goals tells episodes of unseen WebShop goals that ended well from others",
    source="ours (docs/methods/clear.md)",
    arms=(
        Arm("sft", "clear", about="SFT on reflections across like goals"),
        Arm("retrieval", "counterpoint.agents.baselines:Retrieval", role="baseline", about="of the nearest goal"),
        Arm("playbook", "counterpoint.agents.baselines:Playbook", role="baseline", about="one guidance for all"),
        Arm("wrong task", "counterpoint.agents.baselines:WrongTask", role="placebo", about="guidance for another goal"),
    ),
    predictions=(
        Above("concordance", "sft", 0.5),
        Better("concordance", "sft", than="wrong task"),
        Better("concordance", "sft", than="playbook", required=False),
        Better("concordance", "sft", than="retrieval", required=False),
    ),
    data=episodes,
    judge=by_runs,
    measures=CONCORDANCE,
    seeds=(0, 1, 2),
    budget={"borrow": 3, "epochs": 6},
    cut="one episode per goal, so that runs of the three nearest goals take the place of further runs",
    quick={"seeds": (0,), "budget": {"borrow": 3, "epochs": 1}},
)
