"""TF-TTCL: a frozen language model that gets better over a stream of questions, by rules it writes for itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from counterpoint.agents import dialogue
from counterpoint.agents.answers import extract
from counterpoint.agents.assess import assess
from counterpoint.agents.choose import Candidate, Choice, closed, open_ended
from counterpoint.agents.embedder import Embedder
from counterpoint.agents.judge import stream
from counterpoint.agents.questions import Questions
from counterpoint.agents.rules import Policy, Rule, RuleStore, Way, finite, interleaved
from counterpoint.errors import UserError
from counterpoint.language import Ask, ChatModel, Failure, Reply, open_model, perplexity
from counterpoint.training import Clock, Method, MethodConfig, Phase
from counterpoint.training.clock import rng, seed_of
from counterpoint.training.samplers import in_order

RESERVED = 800
"""Tokens of the context that rules may not take (arXiv 2604.13552, released code)."""


@dataclass
class Costs:
    """What was asked for, whether a cache answered or the model; `junk` replies held no rule, `unread` no answer."""

    calls: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    junk: int = 0
    unread: int = 0
    variants: int = 0
    """Variants that the Tutor did not give, in whose place the original question was asked."""


@dataclass
class Turn:
    """One question while it is worked on."""

    id: str
    question: str
    choices: tuple[str, ...]
    rules: list[Rule]
    variants: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    choice: Choice = field(default_factory=lambda: Choice("different", 0))
    failed: str = ""
    calls: int = 0
    tokens: int = 0


class TFTTCL(Method):
    """A stream of questions in; an answer to each and two banks of rules out. The language model stays frozen.

    Per question: steer (rules near it are given to Teacher and Students), explore (the Teacher answers greedily, the
    Tutor rewrites the question, Students draw an answer to a variant each), reflect (best and worst answer by agreement
    and perplexity; a rule from the best, one against the worst), answer (the best). No right answer is looked at.
    Source: arXiv 2604.13552, equations from the released code; the prompts are our own (docs/methods/tf-ttcl.md).

    >>> TFTTCL(model="smollm2", students=2).options.retrieval
    'cosine'
    """

    class Config(MethodConfig):
        """Options of TF-TTCL; defaults are the released code's, K = 3 + 3 its README's."""

        model: str = Field("smollm2", description="http://host:port/v1#model, smollm2, a folder or a hub id")
        embedder: str = Field("minilm", description="what compares questions with rules: minilm, e5, static, a folder")
        task: Literal["closed", "open"] = Field("closed", description="one right answer, or a free text")
        students: int = Field(4, ge=1, description="answers drawn beside the Teacher's")
        top: int = Field(3, ge=0, description="rules of each bank that a question is given")
        temperature: float = Field(0.7, gt=0, description="of every role but the Teacher, who is greedy")
        top_p: float = Field(0.9, gt=0, le=1, description="share of probability that is drawn from")
        top_k: int = Field(50, ge=0, description="tokens that are drawn from; 0: all, for servers that know no top_k")
        max_tokens: int = Field(256, ge=1, description="tokens of an answer")
        context: int = Field(8192, gt=RESERVED, description="tokens of the model's context; rules take all but 800")
        variants: Literal["tutor", "plain", "none"] = Field(
            "tutor", description="who rewrites questions: the Tutor, one call for each variant, nobody"
        )
        reflect: Literal["contrast", "positive", "none"] = Field(
            "contrast", description="rules from best and worst answers, from the best alone, or none at all"
        )
        retrieval: Way = Field("cosine", description="which rules a question is given: the nearest, the latest, any")
        negatives: Literal["confident", "unsure"] = Field(
            "confident",
            description="the worst answer is that of least, or of greatest perplexity outside the best group",
        )
        grouping: Literal["embedding", "perplexity"] = Field(
            "embedding", description="how free texts are told apart: by likeness to the Teacher's, or by perplexity"
        )
        wrong: int = Field(0, ge=0, le=8, description="wrong rules put in at the start, to see what harm they do")
        prune: Policy = Field("none", description="what leaves a bank that is full: nothing, the oldest, any, ...")
        cap: int = Field(100, ge=1, description="rules of a full bank")
        merge_at: float = Field(0.95, ge=-1, le=1, description="cosine at which two rules are one")
        batch_size: int = Field(1, ge=1, description="questions that share one pair of rules")
        draws: int = Field(0, ge=0, description="which draws of the model; runs with equal draws share cached calls")

    Data = Questions
    judge = staticmethod(stream)
    assess = staticmethod(assess)
    options: Config
    calls: Path | None = None
    """Where replies are kept; a run keeps them in its folder."""
    _chat: ChatModel | None = None

    def measure(self, data: Questions) -> dict[str, Any]:
        """How many questions there are; opens the model, so that a wrong name is told at once."""
        _ = self.chat
        return {"questions": len(data)}

    def build(self, facts: dict[str, Any]) -> None:
        """Empty banks, but for wrong rules that are asked for."""
        options = self.options
        self.embedder = Embedder(options.embedder)
        self.store = RuleStore(self.embedder, options.prune, options.cap, options.merge_at)
        self.answers: list[dict[str, Any]] = []
        self.costs = Costs()
        for bank, text in dialogue.wrong_rules()[: options.wrong]:
            self.store.add(bank, text, "", "wrong", 1.0, -1)  # type: ignore[arg-type]

    @property
    def chat(self) -> ChatModel:
        """Who answers, opened when it is first asked."""
        if self._chat is None:
            self._chat, _ = open_model(self.options.model, self.calls)
        return self._chat

    def opened(self, folder: Path) -> None:
        """A run that is loaded goes on with its cache of calls."""
        if (folder / "calls.sqlite").is_file():
            self.calls = folder / "calls.sqlite"

    def phases(self, data: Questions) -> Sequence[Phase]:
        """One pass over the stream, in its order."""
        plan = in_order(len(data), self.options.batch_size)

        def visit(batch: Any, clock: Clock) -> None:
            self._learn(data, plan[clock.step], clock)  # all ranks do the same, whatever their share of the rows

        return [
            self.phase("stream", data, visit=visit, plan=lambda generator: plan, batch=lambda rows, generator: rows)
        ]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Rules, answers and costs."""
        held = {**asdict(self.costs), "made": self.store.made, "left": self.store.left}
        return {"rules": self.store.rows(), "answers": self.answers, "costs": [held]}

    def load_tables(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        """Take them back; raises `UserError` when one is missing."""
        if not tables.get("costs"):
            raise UserError("tables/costs.jsonl of the run is missing or empty; restore it, or fit again")
        held = dict(tables["costs"][0])
        self.store.load(tables.get("rules", []), held.pop("made"), held.pop("left"))
        self.answers = list(tables.get("answers", []))
        self.costs = Costs(**held)

    def answer(self, questions: Questions) -> list[dict[str, Any]]:
        """Answers with the rules as they are; nothing is learned. Rows are those of tables/answers.jsonl.

        Raises `UserError` when the model gives no answer at all to a question.
        """
        self.require_fitted()
        found, kept = [], self.costs
        self.costs = Costs()  # what is asked of a finished run is no part of what it cost
        try:
            for row in torch.arange(len(questions)).split(self.options.batch_size):
                turns = self._turns(questions, row, rng(self.seed, "answer", int(row[0])))
                found += [self._told(turn) for turn in turns]
        finally:
            self.costs = kept
        return found

    def rules(self, question: str | None = None) -> list[dict[str, Any]]:
        """All rules, or those that a question would be given, as rows of tables/rules.jsonl."""
        self.require_fitted()
        if question is None:
            return self.store.rows()
        return [asdict(rule) for rule in self._near(question, rng(self.seed, "rules"))]

    # One step ----------------------------------------------------------------------------------------------

    def _learn(self, data: Questions, rows: Int[Tensor, " n"], clock: Clock) -> None:
        """Answer some questions, then write rules from what was said."""
        turns = self._turns(data, rows, clock.shared_rng("retrieval"))
        for turn in turns:
            for rule in turn.rules:
                rule.used += 1
        if self.options.reflect != "none":
            self._reflect(turns, int(rows[0]), clock)
        self.answers += [self._told(turn) for turn in turns]
        watched = {
            "rules": len(self.store),
            "calls": self.costs.calls,
            "tokens": self.costs.prompt_tokens + self.costs.completion_tokens,
            "cached": getattr(self.chat, "hits", 0),
        }
        self.note(**{name: float(value) for name, value in watched.items()})

    def _turns(self, data: Questions, rows: Int[Tensor, " n"], generator: torch.Generator) -> list[Turn]:
        """Steer and explore."""
        turns = [
            Turn(str(data.ids[row]), data.texts[row], data.choices[row], self._near(data.texts[row], generator))
            for row in rows.tolist()
        ]
        asked = [(turn, "teacher", self._teacher(turn)) for turn in turns]
        asked += [(turn, "tutor", ask) for turn in turns for ask in self._tutor(turn)]
        said = self._ask(asked)
        for turn, _, reply in (one for one in said if one[1] == "tutor"):
            turn.variants += self._variants(reply)
        said += self._ask([(turn, "student", ask) for turn in turns for ask in self._students(turn)])
        for turn in turns:
            self._select(turn, [(role, reply) for whose, role, reply in said if whose is turn and role != "tutor"])
        return turns

    def _near(self, question: str, generator: torch.Generator) -> list[Rule]:
        found = self.store.nearest(question, self.options.top, self.options.retrieval, generator)
        return interleaved(found, self.options.context - RESERVED)

    def _teacher(self, turn: Turn) -> Ask:
        seed = self._seed(turn, "teacher", 0)
        return dialogue.teacher(turn.question, turn.rules, self._end(turn), self.options.max_tokens, seed)

    def _tutor(self, turn: Turn) -> list[Ask]:
        """What the Tutor is asked: all variants at once, or one at a time, or nothing."""
        number, how = self.options.students, self.options.variants
        if how == "none":
            return []
        if how == "tutor":
            return [dialogue.tutor(turn.question, number, self._seed(turn, "tutor", 0), **self._drawing())]
        seeds = [self._seed(turn, "plain", place) for place in range(number)]
        return [dialogue.paraphrase(turn.question, seed, **self._drawing()) for seed in seeds]

    def _variants(self, reply: Reply) -> list[str]:
        """The rewritten questions of one reply of the Tutor."""
        if self.options.variants == "tutor":
            return dialogue.variants(reply.text, self.options.students)
        return [reply.text.strip()] if reply.text.strip() else []

    def _students(self, turn: Turn) -> list[Ask]:
        """One draw for each variant; the original question follows them, as often as variants are missing."""
        missing = max(0, self.options.students - len(turn.variants))
        self.costs.variants += missing if self.options.variants != "none" else 0
        asked = [*turn.variants, *[turn.question] * missing][: self.options.students]
        sampling = {**self._drawing(), "max_tokens": self.options.max_tokens}
        return [
            dialogue.student(text, turn.rules, self._end(turn), self._seed(turn, "student", place), **sampling)
            for place, text in enumerate(asked)
        ]

    def _ask(self, asked: Sequence[tuple[Turn, str, Ask]]) -> list[tuple[Turn, str, Reply]]:
        """Replies beside what they reply to; what is asked is counted.

        A call that can never be answered is left out. Raises `UserError` for one that may be when the model is back:
        the question is then asked anew, so that nothing depends on when the model was away.
        """
        found = []
        for (turn, role, _), reply in zip(asked, self.chat.answer([ask for *_, ask in asked]), strict=True):
            self.costs.calls += 1
            turn.calls += 1
            if isinstance(reply, Failure):
                self.costs.failures += 1
                turn.failed = reply.why
                if not reply.lasting:
                    raise UserError(f"question {turn.id}: {reply.why}; when the model is back, go on with --resume")
                continue
            self.costs.prompt_tokens += reply.prompt_tokens
            self.costs.completion_tokens += reply.completion_tokens
            turn.tokens += reply.prompt_tokens + reply.completion_tokens
            found.append((turn, role, reply))
        return found

    def _select(self, turn: Turn, said: Sequence[tuple[str, Reply]]) -> None:
        """Candidates and the choice among them; raises `UserError` without an answer or without log-probabilities."""
        if not said:
            raise UserError(f"question {turn.id}: {turn.failed}; shorten it, or lower max_tokens and context")
        if all(not reply.logprobs for _, reply in said) and any(reply.text for _, reply in said):
            raise UserError(
                f"{self.chat.name} tells no log-probabilities, by which answers are chosen; ask another server"
            )
        free = self.options.task == "open"
        for role, reply in said:
            found = reply.text if free else extract(reply.text, turn.choices)
            self.costs.unread += found is None
            turn.candidates.append(Candidate(role, reply.text, found, perplexity(reply)))  # type: ignore[arg-type]
        unsure = self.options.negatives == "unsure"
        turn.choice = (
            open_ended(turn.candidates, self._similarity(turn), unsure) if free else closed(turn.candidates, unsure)
        )

    def _similarity(self, turn: Turn) -> list[float] | None:
        """Cosines of all texts with the Teacher's."""
        if self.options.grouping == "perplexity":
            return None
        vectors = torch.stack([self.embedder(one.text) for one in turn.candidates])
        found: list[float] = (vectors @ vectors[0]).tolist()
        return found

    def _reflect(self, turns: Sequence[Turn], step: int, clock: Clock) -> None:
        """At most one rule for each bank, from all questions of the step that taught something."""
        good = [turn for turn in turns if turn.choice.best is not None]
        bad = [turn for turn in good if turn.choice.worst is not None and self.options.reflect == "contrast"]
        asked = []
        if good:
            cases = [(turn.question, _best(turn).text) for turn in good]
            asked.append((good[0], "do", dialogue.positive(cases, self._seed(good[0], "do", 0), **self._drawing())))
        if bad:
            triples = [(turn.question, _best(turn).text, _worst(turn).text) for turn in bad]
            seed = self._seed(bad[0], "avoid", 0)
            asked.append((bad[0], "avoid", dialogue.negative(triples, seed, **self._drawing())))
        generator = clock.shared_rng("prune")
        for turn, bank, reply in self._ask(asked):
            text = dialogue.rule_text(reply.text)
            if text is None:
                self.costs.junk += 1
                continue
            source = _best(turn) if bank == "do" else _worst(turn)
            self.store.add(bank, text, turn.question, source.role, source.perplexity, step, generator)  # type: ignore[arg-type]

    def _told(self, turn: Turn) -> dict[str, Any]:
        """A question's row in tables/answers.jsonl."""
        chosen, choice = turn.candidates[turn.choice.prediction], turn.choice
        said = [
            {"role": one.role, "answer": one.answer, "perplexity": finite(one.perplexity)} for one in turn.candidates
        ]
        return {
            "id": turn.id,
            "question": turn.question,
            "answer": chosen.answer,
            "text": chosen.text,
            "case": choice.case,
            "agreement": choice.agreement,
            "rules": [rule.id for rule in turn.rules],
            "candidates": said,
            "calls": turn.calls,
            "tokens": turn.tokens,
        }

    def _end(self, turn: Turn) -> str:
        return dialogue.ending(turn.choices, self.options.task == "open")

    def _drawing(self) -> dict[str, Any]:
        return {name: getattr(self.options, name) for name in ("temperature", "top_p", "top_k")}

    def _seed(self, turn: Turn, role: str, place: int) -> int:
        """What tells draws apart; it depends on the question, not on when it comes."""
        return seed_of(self.options.draws, turn.question, role, place) % 2**31


def _best(turn: Turn) -> Candidate:
    assert turn.choice.best is not None
    return turn.candidates[turn.choice.best]


def _worst(turn: Turn) -> Candidate:
    assert turn.choice.worst is not None
    return turn.candidates[turn.choice.worst]
