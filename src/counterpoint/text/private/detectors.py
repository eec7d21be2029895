"""Other ways to find private spans, to be compared with: rules, a tagger, a span classifier, a prompt."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from counterpoint.errors import need
from counterpoint.language import ChatModel, Failure, Prompt, fenced, open_model
from counterpoint.language.chat import Ask
from counterpoint.pretrained.texts import TextEncoder
from counterpoint.text.private.chunks import WORD
from counterpoint.text.private.locating import Found, locate
from counterpoint.text.private.rows import parted, rows_of
from counterpoint.text.private.span_judge import best_threshold, sweep
from counterpoint.text.private.spans import SpannedTexts
from counterpoint.training import Trainer

PATTERNS = re.compile(
    r"(?P<mail>[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8})|(?P<link>(?:https?://|www\.)\S{1,400})|"
    r"(?P<ip>\b\d{1,3}(?:\.\d{1,3}){3}\b)|(?P<iban>\b[A-Z]{2}\d{2}[A-Z0-9]{10,30}\b)|"
    r"(?P<number>\+?\(?\d[\d\s().-]{5,40}\d)|(?P<digits>\b\d{4,}\b)|"
    r"(?P<date>\b\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}\b)|"
    r"(?P<name>\b(?:Mr|Mrs|Ms|Dr|Prof)\.?\s+[A-Z]\w+(?:\s+[A-Z]\w+){0,2})|"
    r"(?P<capitals>(?<=[a-z,] )[A-Z]\w+(?:\s+(?:of |de |van |von )?[A-Z]\w+){0,3})"
)
"""What redaction by rules looks for; runs of capitalised words count inside a sentence alone."""
MANY = 512
LINES = 20


class Detector:
    """What the protocol asks of a detector: scores, thresholds, and fitting on the texts DAMPER would learn from."""

    joins = False
    """Whether neighbouring found spans are one, as DAMPER's are."""

    def __init__(self, held: float = 0.15) -> None:
        self.held = held

    def fit(self, data: SpannedTexts, validation: Any = None, trainer: Trainer | None = None) -> "Detector":
        """Learn, then choose a threshold on the held texts, the same for all domains, which it does not tell apart."""
        learned, held = parted(data, self.held)
        self.domains, self.seed = learned.names, 0 if trainer is None else trainer.seed
        self.learn(learned)
        scored = self.scored(list(held.texts))
        swept = sweep(list(held.texts), scored, held.spans, self.joins)
        self.chosen = dict.fromkeys(self.domains, best_threshold(swept)[0])
        return self

    def learn(self, data: SpannedTexts) -> None:
        """What is learned of the training texts; nothing."""

    def gammas(self) -> dict[str, float]:
        """The threshold of each domain."""
        return self.chosen

    def scored(self, texts: Sequence[str]) -> list[list[Found]]:
        """Non-overlapping spans of each text with scores."""
        return [self._apart(self.spans(text)) for text in texts]

    def spans(self, text: str) -> list[tuple[int, int, float]]:
        """Spans of one text with scores, which may overlap."""
        raise NotImplementedError

    def _apart(self, spans: Sequence[tuple[int, int, float]]) -> list[Found]:
        """Of overlapping spans the surer one, then the longer one."""
        taken: list[Found] = []
        for start, end, score in sorted(spans, key=lambda one: (-one[2], one[0] - one[1], one[0])):
            if all(end <= one.start or start >= one.end for one in taken):
                taken.append(Found(start, end, score, score, self.domains[0]))
        return sorted(taken, key=lambda one: one.start)


class Rules(Detector):
    """Patterns, and every private span of the training texts as a dictionary."""

    def learn(self, data: SpannedTexts) -> None:
        """Keep the training texts' private spans of three letters or more."""
        known = {words.lower() for row in range(len(data)) for words in data.said(row) if len(words) > 2}
        parts = [re.escape(words) for words in sorted(known, key=lambda words: (-len(words), words))]
        parts = parts or [r"(?!)"]  # an empty dictionary knows nothing
        self.known = re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE)

    def spans(self, text: str) -> list[tuple[int, int, float]]:
        """What the dictionary knows is surest, then the strict patterns, then runs of capitalised words."""
        found = [(*one.span(), 1.0) for one in self.known.finditer(text)]
        for one in PATTERNS.finditer(text):
            found.append((*one.span(), 0.5 if one.lastgroup == "capitals" else 0.9))
        return found


class Tagger(Detector):
    """A token tagger as for named entities: logistic regression on the word, its shape, its ends and its neighbours."""

    def learn(self, data: SpannedTexts) -> None:
        """Learn which words are inside private spans, and which begin one."""
        extraction: Any = need("sklearn.feature_extraction", "eval")
        linear: Any = need("sklearn.linear_model", "eval")
        rows, tags = [], []
        for text, gold in zip(data.texts, data.spans, strict=True):
            words = list(WORD.finditer(text))
            rows += [_features(words, place) for place in range(len(words))]
            tags += [_tag(word.start(), word.end(), gold) for word in words]
        self.hashed = extraction.FeatureHasher(2**16, input_type="string")
        self.model = linear.LogisticRegression(C=10.0, max_iter=200).fit(self.hashed.transform(rows), tags)

    def spans(self, text: str) -> list[tuple[int, int, float]]:
        """Runs of words that are likelier inside than outside at some threshold; a run's score is its mean chance."""
        words = list(WORD.finditer(text))
        if not words:
            return []
        chances = self.model.predict_proba(self.hashed.transform([_features(words, p) for p in range(len(words))]))
        column = {tag: place for place, tag in enumerate(self.model.classes_)}
        inside = 1 - chances[:, column["O"]]
        begins = chances[:, column["B"]] if "B" in column else inside
        found = []
        for least in (0.7, 0.5, 0.35, 0.2, 0.1, 0.05):
            run: list[int] = []
            for place in range(len(words) + 1):
                ends = place == len(words) or inside[place] < least or (run and begins[place] > 0.5)
                if ends and run:
                    found.append((words[run[0]].start(), words[run[-1]].end(), float(inside[run].mean())))
                    run = []
                if place < len(words) and inside[place] >= least:
                    run.append(place)
        return found


def _tag(start: int, end: int, gold: Sequence[Any]) -> str:
    for span in gold:
        if start < span.end and end > span.start:
            return "B" if start <= span.start else "I"
    return "O"


def _features(words: Sequence[re.Match[str]], place: int) -> list[str]:
    """What is said of a word: itself, its shape and ends, and the same of its neighbours."""
    found = ["bias"]
    for step in (-2, -1, 0, 1, 2):
        at = place + step
        if not 0 <= at < len(words):
            found.append(f"{step}:none")
            continue
        word = words[at].group()
        shape = re.sub(r"[a-z]+", "a", re.sub(r"[A-Z]+", "A", re.sub(r"\d+", "9", word)))
        found += [f"{step}:{word.lower()}", f"{step}:{shape}"]
        if step == 0:
            found += [f"<{word[:3]}", f"{word[-3:]}>", f"long{min(len(word), 12)}"]
    return found


class SpanClassifier(Detector):
    """Logistic regression on the frozen encoder's vectors of the spans that DAMPER learns from."""

    joins = True

    def __init__(self, base: str = "minilm", max_length: int | None = 128, held: float = 0.15) -> None:
        super().__init__(held)
        self.encoder = TextEncoder.from_source(base, max_length=max_length).eval()

    def learn(self, data: SpannedTexts) -> None:
        """Fit one classifier of private against not, over all domains."""
        linear: Any = need("sklearn.linear_model", "eval")
        rows = rows_of(data)
        vectors = self.encoder.encode(rows.words).numpy()
        self.model = linear.LogisticRegression(C=10.0, max_iter=500, class_weight="balanced")
        self.model.fit(vectors, rows.private.numpy())

    def scored(self, texts: Sequence[str]) -> list[list[Found]]:
        """Chunks as DAMPER's, by the chance of being private."""

        def chance(some: Sequence[str]) -> torch.Tensor:
            if not some:
                return torch.zeros(0, 1)
            said = self.model.predict_proba(self.encoder.encode(list(some)).numpy())[:, 1]
            return torch.from_numpy(np.asarray(said)).float()[:, None]

        return locate(texts, chance, chance, self.domains[:1])


class Asking(Detector):
    """A language model that is asked which phrases of a text are private; what it names is found by its letters."""

    def __init__(self, model: str = "smollm2", held: float = 0.15) -> None:
        super().__init__(held)
        self.name = model
        self.junk = 0

    def fit(self, data: SpannedTexts, validation: Any = None, trainer: Trainer | None = None) -> "Asking":
        """Open the model; nothing is learned, so any score passes."""
        self.chat: ChatModel = open_model(self.name)[0]
        self.domains = data.names
        self.chosen = dict.fromkeys(self.domains, 0.0)
        return self

    def scored(self, texts: Sequence[str]) -> list[list[Found]]:
        """The phrases that the model names, where they stand; a failed call finds nothing and is counted."""
        prompt = Prompt.of("counterpoint.text", "find_spans")
        asks = [Ask.of(prompt.filled(text=fenced(text[:2000])), max_tokens=60) for text in texts]
        found = []
        for text, reply in zip(texts, self.chat.answer(asks), strict=True):
            self.junk += isinstance(reply, Failure)
            said = "" if isinstance(reply, Failure) else reply.text
            spans = []
            for line in said.splitlines()[:LINES]:
                phrase = line.strip(" \t-*•\"'")
                if len(phrase) > 1:
                    spans += [(m.start(), m.end(), 1.0) for m in re.finditer(re.escape(phrase), text)]
            found.append(self._apart(spans))
        return found
