"""CLEAR: a small language model that writes guidance for a task, learned from good and bad runs of other tasks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from counterpoint.agents import environment
from counterpoint.agents.advice import judged, prompt_of
from counterpoint.agents.causal import OWN, Causal, Sequences
from counterpoint.agents.differ import Pair, borrowed, common_actions, differ, pairs
from counterpoint.agents.embedder import Embedder
from counterpoint.agents.grpo import advantages, clipped
from counterpoint.agents.reflector import Reflector
from counterpoint.agents.trajectories import Trajectories
from counterpoint.errors import UserError
from counterpoint.objectives import RowLoss
from counterpoint.training import Clock, Method, Optim, Phase, SGDConfig
from counterpoint.training.clock import rng
from counterpoint.training.samplers import shuffled

Reflect = Callable[[Trajectories, Pair, set[str]], str]
REWARDS = {"apps": environment.reward}
"""What a task's guidance is worth in an environment: (task, guidance, runs, seed) -> mean outcome."""


class Start(nn.Module):
    """The weights that reinforcement starts from, for the distance from them."""

    training_only = True

    def __init__(self, names: Sequence[str], parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.names = [name.replace(".", "/") for name in names]
        for name, parameter in zip(self.names, parameters, strict=True):
            self.register_buffer(name, torch.zeros_like(parameter))


class CLEAR(Method):
    """Guidance for a task from a model trained on what separated good runs of other tasks from bad ones.

    Reflect: the best runs of a task against its worst give guidance. SFT: the model learns task -> guidance. With an
    environment GRPO follows: guidance is drawn, the frozen executor runs with it, and the outcome is the reward.
    Source: arXiv 2604.07487, the outline alone; a reconstruction: SFT and GRPO are the standard forms, reflector,
    environment and all settings are ours (docs/methods/clear.md).

    >>> CLEAR(rl_steps=10).options.group
    4
    """

    class Config(SGDConfig):
        """Options of CLEAR, none of them published; K and the group size as in descriptions of the paper."""

        optim: Optim = Optim(lr=3e-3, weight_decay=0.0)
        epochs: int = Field(20, ge=0, description="passes of SFT over the guidance; 0: none")
        batch_size: int = Field(16, ge=2, description="rows of guidance per step of SFT")

        base: str = Field(OWN, description="own: a small model of its own; smollm2, a folder or a hub id with LoRA")
        width: int = Field(64, ge=8, description="width of a model of its own")
        layers: int = Field(2, ge=1, description="layers of a model of its own")
        lora: int = Field(8, ge=1, description="rank of the updates to a pretrained base")
        reflection: Literal["contrast", "difference", "success"] = Field(
            "contrast",
            description="guidance from good and bad runs, from their difference alone, or from good runs alone",
        )
        reflector: str = Field("differ", description="differ: a rule; else the language model that reflects")
        pairs: int = Field(3, ge=1, description="pairs of runs, those of the largest gap, that a task gives")
        borrow: int = Field(
            0, ge=0, description="nearest other tasks whose runs a task without contrast is paired with"
        )
        longest: int = Field(64, ge=4, description="tokens of guidance")
        environment: Literal["none", "apps"] = Field(
            "none", description="whose outcomes reinforcement follows; none: SFT alone"
        )
        rl_steps: int = Field(200, ge=0, description="steps of GRPO, where there is an environment")
        rl_lr: float = Field(3e-4, gt=0, description="learning rate of GRPO")
        rl_tasks: int = Field(4, ge=1, description="tasks per step of GRPO")
        group: int = Field(4, ge=2, description="guidances drawn for a task")
        repeats: int = Field(4, ge=1, description="runs whose mean outcome is the reward of one guidance")
        updates: int = Field(2, ge=1, description="steps made from one drawing")
        clip: float = Field(0.2, gt=0, lt=1, description="how far a probability ratio may count")
        kl: float = Field(0.1, ge=0, description="weight of the distance from where GRPO started")

    Data = Trajectories
    judge = staticmethod(judged)
    options: Config
    calls: Path | None = None
    """Where an LLM reflector's replies are kept."""
    _writer: Reflector | None = None

    def measure(self, data: Trajectories) -> dict[str, Any]:
        """Words of tasks and guidance, or what the base is; raises `UserError` when nothing can be contrasted."""
        options = self.options
        if options.reflector != "differ" and options.base == OWN:
            raise UserError(
                "reflector: a model of its own knows no words but the differ's; say base=smollm2 or a folder"
            )
        common = sorted(common_actions(data))
        rows = [self._rows(data, task, set(common)) for task in self._tasks(data)]
        if not any(rows):
            raise UserError(f"{data.source}: no task has runs of different outcome; give more runs, or borrow=3")
        texts = [text for found in rows for row in found for text in (row["task"], row["guidance"])]
        made = Causal.measure(options.base, texts)
        return {**made, "common": common, "tasks": len(rows), "without contrast": sum(not found for found in rows)}

    def build(self, facts: dict[str, Any]) -> None:
        """The model, and a place for the weights that GRPO starts from."""
        options = self.options
        with self.seeded("model"):
            self.model = Causal(facts, options.lora, options.width, options.layers)
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.learned = [name for name, _ in named]
        if self.reinforced:
            self.start = Start(self.learned, [parameter for _, parameter in named])
        self.guidance: list[dict[str, Any]] = []
        self.drawn: list[dict[str, Any]] = []

    @property
    def reinforced(self) -> bool:
        """Whether GRPO follows SFT."""
        return self.options.environment != "none" and self.options.rl_steps > 0

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Guidance rows, and the guidance that GRPO drew last."""
        return {"guidance": self.guidance, "drawn": self.drawn}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take them back."""
        self.guidance, self.drawn = list(tables.get("guidance", [])), list(tables.get("drawn", []))

    def remarks(self, data: Trajectories) -> Sequence[str]:
        """How reinforcement is done, when it is."""
        return ["GRPO follows SFT: the environment's outcome is the reward"] if self.reinforced else []

    # Stages ------------------------------------------------------------------------------------------------

    def phases(self, data: Trajectories) -> Sequence[Phase]:
        """Reflect, a task per step; SFT; and with `rl_steps` GRPO."""
        tasks, options = self._tasks(data), self.options
        each = [torch.tensor([place]) for place in range(len(tasks))]

        def reflect(batch: Any, clock: Clock) -> None:
            self.guidance += self._rows(data, tasks[clock.step], set(self.facts["common"]), written=True)

        def plain(rows: Int[Tensor, " n"], generator: torch.Generator) -> Int[Tensor, " n"]:
            return rows

        found = [self.phase("reflect", data, visit=reflect, plan=lambda generator: each, batch=plain)]
        if options.epochs:
            found.append(self.phase("sft", data, plan=self._plan, batch=self._supervised, losses=self._imitate))
        if self.reinforced:
            optim = options.optim.model_copy(update={"lr": options.rl_lr})
            steps = {"plan": lambda generator: self._groups(data, generator), "batch": plain}
            settings = {"optim": optim, "epochs": 1, "keep": None}
            texts = [str(data.tasks[rows[0]]) for rows in data.of_tasks().values()]
            found.append(self.phase("start", data, visit=self._remember, plan=lambda generator: each[:1], batch=plain))
            found.append(
                self.phase(
                    "grpo", data, losses=lambda rows, clock: self._reinforce(texts, rows, clock), **steps, **settings
                )
            )
        return found

    @cached_property
    def embedder(self) -> Embedder:
        """What finds like tasks."""
        return Embedder("minilm")

    def _tasks(self, data: Trajectories) -> list[str]:
        return list(data.of_tasks())

    def _rows(self, data: Trajectories, task: str, common: set[str], written: bool = False) -> list[dict[str, Any]]:
        """Guidance for one task, from its pairs of runs; by the rule, or where it is `written` by the reflector."""
        of_tasks, options = data.of_tasks(), self.options
        rows = of_tasks[task]
        contrast = options.reflection != "success"
        chosen = pairs(data, rows, options.pairs, contrast)
        if not chosen and options.borrow and contrast:
            chosen = borrowed(data, rows, self._near(data, task), options.pairs)
        reflect: Reflect = partial(differ, bare=options.reflection == "difference")
        if written and options.reflector != "differ":
            reflect = self._reflector()
        texts = [(pair, reflect(data, pair, common)) for pair in chosen]
        return [
            {"task_id": task, "task": str(data.tasks[rows[0]]), "guidance": text, "good": p.good, "bad": p.bad}
            for p, text in texts
            if text
        ]

    def _reflector(self) -> Reflect:
        """The language model that reflects, opened once."""
        if self._writer is None:
            self._writer = Reflector(self.options.reflector, self.calls)
        return self._writer.write

    def _near(self, data: Trajectories, task: str) -> list[int]:
        """Runs of the tasks whose words are nearest."""
        of_tasks = data.of_tasks()
        names = [name for name in of_tasks if name != task]
        texts = {name: str(data.tasks[rows[0]]) for name, rows in of_tasks.items()}
        asked = self.embedder(texts[task])
        near = sorted(names, key=lambda name: -float(self.embedder(texts[name]) @ asked))
        return [row for name in near[: self.options.borrow] for row in of_tasks[name]]

    def _plan(self, generator: torch.Generator) -> Sequence[Int[Tensor, " _"]]:
        rows = len(self.guidance)
        return shuffled(rows, min(self.options.batch_size, rows), generator) if rows > 1 else []

    def _supervised(self, rows: Int[Tensor, " n"], generator: torch.Generator) -> Sequences:
        """Tasks with their guidance as tokens."""
        chosen = [self.guidance[row] for row in rows.tolist()]
        prompts = [self.model.encode(prompt_of(row["task"], self.model)) for row in chosen]
        answers = [[*self.model.encode(row["guidance"])[: self.options.longest], self.model.end] for row in chosen]
        return self.model.sequences(prompts, answers)

    def _imitate(self, batch: Sequences, clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """SFT: the mean over rows of the negative log-probability of their guidance, per token."""
        found = self.model.logprobs(batch).sum(1) / batch.target.sum(1).clamp(min=1)
        return {"sft": RowLoss(-found, torch.ones_like(found, dtype=torch.bool)).mean()}

    def _groups(self, data: Trajectories, generator: torch.Generator) -> list[Int[Tensor, " _"]]:
        """Tasks of each step; each drawing is used `updates` times in a row."""
        tasks, options = len(data.of_tasks()), self.options
        size = min(options.rl_tasks, tasks)
        plan: list[Tensor] = []
        while len(plan) < options.rl_steps:
            plan += [rows for rows in shuffled(tasks, size, generator) for _ in range(options.updates)]
        return plan[: options.rl_steps]

    def _remember(self, batch: Any, clock: Clock) -> None:
        """Keep the weights as they are."""
        parameters = dict(self.model.named_parameters())
        for name, kept in zip(self.learned, self.start.names, strict=True):
            self.start.get_buffer(kept).copy_(parameters[name])

    @contextmanager
    def _as_at_start(self) -> Iterator[None]:
        """The model with the weights that GRPO started from."""
        parameters = dict(self.model.named_parameters())
        now = {name: parameters[name].data for name in self.learned}
        for name, kept in zip(self.learned, self.start.names, strict=True):
            parameters[name].data = self.start.get_buffer(kept)
        try:
            yield
        finally:
            for name, value in now.items():
                parameters[name].data = value

    def _reinforce(self, texts: Sequence[str], rows: Int[Tensor, " n"], clock: Clock) -> dict[str, Float[Tensor, ""]]:
        """GRPO on guidance drawn now, or in the step before."""
        if clock.step % self.options.updates == 0:
            self.drawn = self._draw([(row, texts[row]) for row in rows.tolist()], clock)
        given = self.model.sequences([one["prompt"] for one in self.drawn], [one["tokens"] for one in self.drawn])
        given = given.to(rows.device)
        now = self.model.logprobs(given)
        if clock.step % self.options.updates == 0:
            for one, row, inside in zip(self.drawn, now.detach(), given.target, strict=True):
                one["logprobs"] = row[inside].tolist()
        old, first = (self._kept(name, given, now) for name in ("logprobs", "reference"))
        advantage = now.new_tensor([one["advantage"] for one in self.drawn])
        loss, distance = clipped(now, old, first, advantage, given.target, self.options.clip)
        every = torch.ones_like(loss, dtype=torch.bool)
        return {"grpo": RowLoss(loss, every).mean(), "kl": self.options.kl * RowLoss(distance, every).mean()}

    def _draw(self, tasks: Sequence[tuple[int, str]], clock: Clock) -> list[dict[str, Any]]:
        """Guidance for some tasks, a group for each, with advantages and log-probabilities at the start."""
        options, told = self.options, []
        places = [(row, text, number) for row, text in tasks for number in range(options.group)]
        prompts = [self.model.encode(prompt_of(text, self.model)) for _, text, _ in places]
        noise = [rng(clock.seed, "grpo", clock.step, row, number) for row, _, number in places]
        made = self.model.write(prompts, options.longest, noise)
        for (_, text, _), prompt, tokens in zip(places, prompts, made, strict=True):
            worth = REWARDS[options.environment](text, self.model.decode(tokens), options.repeats, clock.step)
            told.append({"prompt": prompt, "tokens": tokens, "reward": worth})
        found = advantages(torch.tensor([one["reward"] for one in told]).view(-1, options.group))
        if told:
            rewards = np.array([one["reward"] for one in told])
            self.note(reward=float(rewards.mean()), flat=float((found.abs().sum(1) == 0).float().mean()))
        given = self.model.sequences(prompts, made).to(next(self.model.parameters()).device)
        with torch.no_grad(), self._as_at_start():
            first = self.model.logprobs(given)
        for one, share, row, inside in zip(told, found.flatten().tolist(), first, given.target, strict=True):
            one |= {"advantage": share, "reference": row[inside].tolist()}
        return told

    def _kept(self, name: str, given: Sequences, like: Float[Tensor, "n t"]) -> Float[Tensor, "n t"]:
        """Numbers that were kept with what was drawn, at their places."""
        values = torch.zeros_like(like, requires_grad=False)
        kept = [value for one in self.drawn for value in one[name]]
        values[given.target] = like.new_tensor(kept)
        return values

    # Use ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def advise(self, tasks: Sequence[str]) -> list[str]:
        """Guidance for tasks in words, the likeliest; one call of the model for all of them."""
        self.require_fitted()
        prompts = [self.model.encode(prompt_of(task, self.model)) for task in tasks]
        return [self.model.decode(tokens) for tokens in self.model.write(prompts, self.options.longest)]
