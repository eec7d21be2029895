"""Preferences between rewrites of private spans, and direct preference optimisation of the model that rewrites."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from counterpoint.objectives import RowLoss
from counterpoint.pretrained.lowrank import strengthen
from counterpoint.text.private.rows import PrivateRows
from counterpoint.text.private.writer import SpanWriter
from counterpoint.training import Clock, Phase, rng

NONE = "none"
DECODING = (
    (0.2, 0.80), (0.3, 0.80), (0.4, 0.85), (0.5, 0.85), (0.6, 0.90),
    (0.7, 0.90), (0.8, 0.95), (0.9, 0.95), (1.0, 1.00), (1.2, 1.00),
)  # fmt: skip
"""Temperature and top-p of the ten rewrites of a span; the published code's range, its steps are ours."""
TOP_K, REPEATED = 50, 1.2
"""Tokens that are drawn from, and what divides the logits of tokens that were said."""
WARM_UP = 0.05
"""Share of the rewrites whose scores set means and spreads."""
NEAR_ONE = 0.999
"""Where a likeness is cut before atanh, which has no bound."""
SPANS = 8
"""Spans rewritten in one step."""


class Rewriter(BaseModel):
    """Options of the model that rewrites; the defaults are the published code's where it says something."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str = Field(NONE, description="smollm2, a folder or a hub id that learns to rewrite; none: words are drawn")
    spans: int = Field(200, ge=2, description="private spans whose rewrites are compared")
    length: int = Field(6, ge=1, description="tokens of a rewrite at most")
    alpha: float = Field(0.5, ge=0, le=1, description="weight of looking like the domain against telling the span")
    beta: float = Field(0.1, gt=0, description="how far the model may leave where it was")
    epochs: int = Field(7, ge=1, description="passes over the preferences")
    lr: float = Field(5e-6, gt=0, description="learning rate; it falls along a cosine after a tenth of the steps")
    batch_size: int = Field(16, ge=1, description="preferences per step")
    rank: int = Field(16, ge=1, description="rank of the updates; their scale is 2")
    dropout: float = Field(0.05, ge=0, lt=1, description="dropout before the updates in training")

    @property
    def used(self) -> bool:
        """Whether there is a model."""
        return self.model != NONE


class Preferences:
    """Rows of a better and a worse rewrite of a span with their scores."""

    def __init__(self, options: Rewriter) -> None:
        self.options = options
        self.rows: list[dict[str, Any]] = []

    def phases(self, method: Any, rows: PrivateRows) -> list[Phase]:
        """Rewrite and score spans, a few per step; choose; learn; forget the words."""
        o = self.options
        chosen = _drawn(rows, o.spans)
        each = list(torch.arange(len(chosen)).split(SPANS))
        first = [torch.zeros(1, dtype=torch.int64)]
        names = method.facts["domains"]

        def plain(some: Int[Tensor, " n"], generator: torch.Generator) -> Int[Tensor, " n"]:
            return some

        def write(batch: Any, clock: Clock) -> None:
            for place in each[clock.step].tolist():  # all ranks do the same, whatever their share
                span, domain = rows.words[chosen[place]], names[int(rows.domain[chosen[place]])]
                self.rows += self._rewrites(method, span, domain, clock)

        def choose(batch: Any, clock: Clock) -> None:
            self._choose(method)

        def forget(batch: Any, clock: Clock) -> None:
            self.rows = [{name: row[name] for name in ("domain", "better", "worse")} for row in self.rows]

        def learn(batch: Any, clock: Clock) -> dict[str, Float[Tensor, ""]]:
            return {"dpo": self._losses(method.writer, [self.rows[place] for place in batch.tolist()]).mean()}

        def plan(generator: torch.Generator) -> list[Int[Tensor, " _"]]:
            return list(torch.randperm(len(self.rows), generator=generator).split(o.batch_size))

        steps = -(-len(chosen) // o.batch_size) * o.epochs
        optim = method.options.optim.model_copy(
            update={"lr": o.lr, "schedule": "cosine", "warmup": round(0.1 * steps)}
            if method.options.optim.name == "adamw"
            else {}
        )
        still = {"batch": plain, "plan": lambda generator: first}
        return [
            method.phase("rewrites", None, visit=write, plan=lambda generator: each, batch=plain),
            method.phase("preferences", None, visit=choose, **still),
            method.phase(
                "dpo", None, losses=learn, plan=plan, batch=plain, trains=("writer",), optim=optim,
                epochs=o.epochs, keep=None,
            ),
            method.phase("forget", None, visit=forget, **still),
        ]  # fmt: skip

    def _rewrites(self, method: Any, span: str, domain: str, clock: Clock) -> list[dict[str, Any]]:
        """The different rewrites of one span under the ten settings, with what they score before standardisation."""
        writer: SpanWriter = method.writer
        noise = [rng(clock.seed, "rewrites", span, domain, number) for number in range(len(DECODING))]

        def draw(logits: Float[Tensor, "n v"], made: list[list[int]]) -> Int[Tensor, " n"]:
            return torch.stack([_sampled(*row) for row in zip(logits, made, DECODING, noise, strict=True)])

        prompt = writer.encode(span, domain)
        texts = [writer.decode(ids) for ids in writer.write([prompt] * len(DECODING), self.options.length, draw)]
        texts = list(dict.fromkeys(text for text in texts if text))
        if not texts:
            return []
        likeness = method.meaning([span, *texts])
        leak = 1 - (likeness[1:] @ likeness[0]).double()
        near = method.likeness(texts, [domain] * len(texts)).double().clamp(max=NEAR_ONE, min=-NEAR_ONE).atanh()
        return [
            {"span": span, "domain": domain, "text": text, "leak": float(a), "near": float(b)}
            for text, a, b in zip(texts, leak, near, strict=True)
        ]

    def _choose(self, method: Any) -> None:
        """The best and the worst rewrite of each span, by scores standardised over the first rewrites.

        Source: arXiv 2604.10145's code, alpha sigmoid(z of atanh s_dom) + (1 - alpha) sigmoid(z of s_leak), with the
        leak of the rewrite itself, where the code compares a fixed word.
        """
        if not self.rows:
            return
        warm = self.rows[: max(2, round(WARM_UP * len(self.rows)))]
        terms = {}
        for name in ("near", "leak"):
            values = torch.tensor([row[name] for row in warm], dtype=torch.float64)
            spread = values.std(correction=0).clamp(min=1e-6)
            every = torch.tensor([row[name] for row in self.rows], dtype=torch.float64)
            terms[name] = ((every - values.mean()) / spread).sigmoid()
        scores = (self.options.alpha * terms["near"] + (1 - self.options.alpha) * terms["leak"]).tolist()
        of_spans: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for row, score in zip(self.rows, scores, strict=True):
            of_spans.setdefault((row["span"], row["domain"]), []).append((score, row["text"]))
        made = []
        for (span, domain), found in of_spans.items():
            worse, better = min(found), max(found)
            if better[0] > worse[0]:
                pair = {"better": better[0], "worse": worse[0], "chosen": better[1], "rejected": worse[1]}
                made.append({"span": span, "domain": domain, **pair})
        self.rows = made
        method.note(preferences=float(len(made)))

    def _losses(self, writer: SpanWriter, rows: Sequence[dict[str, Any]]) -> RowLoss:
        """-log sigmoid(beta (log-ratio of the chosen - log-ratio of the rejected)), per preference.

        The reference is the model with its updates turned off. Source: DPO, arXiv 2305.18290, equation 7.
        """
        prompts = [writer.encode(row["span"], row["domain"]) for row in rows] * 2
        answers = [[*writer.tokenizer(row[name], add_special_tokens=False)["input_ids"], writer.end]
                   for name in ("chosen", "rejected") for row in rows]  # fmt: skip
        strengthen(writer.network, 0.0)
        with torch.no_grad():
            before = writer.logprobs(prompts, answers)
        strengthen(writer.network, 1.0)
        ratio = writer.logprobs(prompts, answers) - before
        return dpo(ratio[: len(rows)], ratio[len(rows) :], self.options.beta)


def dpo(chosen: Float[Tensor, " n"], rejected: Float[Tensor, " n"], beta: float) -> RowLoss:
    """The DPO loss of log-ratios between a model and its reference.

    >>> dpo(torch.zeros(1), torch.zeros(1), beta=0.1).value
    tensor([0.6931])
    """
    value = -logsigmoid(beta * (chosen - rejected))
    return RowLoss(value, torch.ones_like(value, dtype=torch.bool))


def _drawn(rows: PrivateRows, most: int) -> list[int]:
    """Private spans of all domains, drawn always the same, and as many of each as there are."""
    private = (rows.private == 1).nonzero()[:, 0]
    order = torch.randperm(len(private), generator=rng(0, "preferences"))
    found: list[int] = private[order][:most].tolist()
    return found


def _sampled(
    logits: Float[Tensor, " v"], made: Sequence[int], setting: tuple[float, float], noise: torch.Generator
) -> Int[Tensor, ""]:
    """One token under a temperature, a top-p, top-k 50 and a penalty for what was said."""
    temperature, top_p = setting
    values = logits.double().cpu().clone()
    said = torch.tensor(sorted(set(made)), dtype=torch.int64)
    values[said] = torch.where(values[said] > 0, values[said] / REPEATED, values[said] * REPEATED)
    chances, place = (values / temperature).softmax(-1).sort(descending=True)
    kept = (chances.cumsum(0) - chances < top_p) & (torch.arange(len(chances)) < TOP_K)
    chosen = torch.multinomial(chances * kept, 1, generator=noise)
    return place[chosen[0]].to(logits.device)
