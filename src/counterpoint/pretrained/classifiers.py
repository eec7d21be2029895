"""Sequence classifiers of transformers: read from a folder, run in sub-batches of like length, written as a folder."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from counterpoint.errors import UserError, need
from counterpoint.files import atomic_path, write_json, write_text
from counterpoint.pretrained.source import (
    OWN,
    Base,
    folder_of,
    plain_config,
    read_base,
    read_json,
    special_tokens,
    stored,
    tokenizer_and_config,
)
from counterpoint.pretrained.texts import sub_batches
from counterpoint.pretrained.tokens import Tokeniser, Tokens

HEAD = "ForSequenceClassification"
"""How transformers ends the names of classifiers of texts."""
Saliency = Literal["gradient-input", "gradient"]
Part = Literal["cls", "pooler"]


class SequenceClassifier(nn.Module):
    """A classifier of texts as transformers builds it, in eval mode but for what a phase trains.

    `facts` are those of `classifier_facts`; weights are random, from torch's own stream, and `tokeniser` is absent
    without `tokenizer`, until they are loaded: `of` does both. `dropout` takes the place of every dropout rate of the
    configuration.
    """

    def __init__(self, facts: Mapping[str, Any], tokenizer: str | None, dropout: float | None = None) -> None:
        super().__init__()
        self.facts = dict(facts)
        self.network = _network(facts["config"], dropout)
        self.tokeniser: Tokeniser
        if tokenizer is not None:
            self.load_tokenizer(tokenizer)

    @classmethod
    def of(
        cls, base: Base, facts: Mapping[str, Any], dropout: float | None = None, headless: bool = False
    ) -> "SequenceClassifier":
        """A classifier with the weights and the tokenizer of one that was read; raises `UserError` when they differ.

        `headless` lets what lies above the body be missing: it stays random.
        """
        made = cls(facts, base.tokenizer, dropout)
        expected = made.network.state_dict()
        body = tuple(f"{made.network.base_model_prefix}.{part}" for part in ("embeddings", "encoder", "transformer"))
        given = {name: tensor for name, tensor in base.state.items() if name in expected or tensor.is_floating_point()}
        needed = {name for name in expected if not headless or name.startswith(body)}
        wrong = [n for n in needed | given.keys() if _shape(expected.get(n)) != _shape(given.get(n))]
        if wrong:
            kind = base.config["model_type"]
            raise UserError(
                f"{base.source}: its weights are not those of a {kind} classifier (first difference: {min(wrong)}); "
                "its head is unknown here, or files are missing"
            )
        whole = expected | {name: tensor.to(expected[name].dtype) for name, tensor in given.items()}
        made.network.load_state_dict(whole)
        return made.eval()

    def load_tokenizer(self, tokenizer: str) -> None:
        """Take a tokenizer.json, given as text."""
        self.tokeniser = self.tokeniser_of(tokenizer, self.facts)

    @staticmethod
    def tokeniser_of(tokenizer: str, facts: Mapping[str, Any]) -> Tokeniser:
        """The tokeniser of a classifier with these facts."""
        return Tokeniser(tokenizer, facts["max_length"], facts["padding"], {})

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the logits."""
        return classes_in(self.facts["config"])

    @property
    def words(self) -> nn.Module:
        """The table of word vectors, before positions are added."""
        found: nn.Module = self.network.get_input_embeddings()  # type: ignore[operator]
        return found

    @property
    def mask(self) -> int:
        """The number of the token that hides another; raises `UserError` when there is none."""
        token = self.facts["special"].get("mask_token")
        number = None if token is None else self.tokeniser.tokenizer.token_to_id(token)
        if number is None:
            raise UserError(f"{self.facts['source']}: its tokenizer has no mask token, so no word can be hidden")
        return int(number)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        config = self.facts["config"]
        return int(config.get("hidden_size") or config["dim"])

    def special(self) -> set[int]:
        """The numbers of tokens that are no words."""
        found = {self.tokeniser.tokenizer.token_to_id(token) for token in self.facts["special"].values()}
        return {number for number in found if number is not None}

    def logits(self, tokens: Tokens) -> Float[Tensor, "n c"]:
        """The classes' logits of texts, in the order of the texts."""
        return self._each(tokens, len(self.classes), lambda ids, mask: self._whole(ids, mask))

    def vectors(self, tokens: Tokens, part: Part = "cls") -> Float[Tensor, "n d"]:
        """What the head sees of texts: the first token's last state, or what the network's pooler makes of it."""
        return self._each(tokens, self.width, lambda ids, mask: self._body(ids, mask, part))

    @property
    def last_layer(self) -> nn.Linear:
        """The linear layer that makes the logits; raises `UserError` when the head does not end in one."""
        above = (m for name, m in self.network.named_modules() if not name.startswith(self.network.base_model_prefix))
        linear = [m for m in above if isinstance(m, nn.Linear) and m.out_features == len(self.classes)]
        if not linear or linear[-1].bias is None:
            raise UserError(f"{self.facts['source']}: its head does not end in a linear layer with a bias")
        return linear[-1]

    def before_last_layer(self, tokens: Tokens) -> Float[Tensor, "n d"]:
        """What the last layer sees of texts."""
        seen: list[Tensor] = []

        def found(ids: Tensor, mask: Tensor) -> Tensor:
            self._whole(ids, mask)
            return seen.pop()

        handle = self.last_layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            return self._each(tokens, self.last_layer.in_features, found)
        finally:
            handle.remove()

    @torch.no_grad()
    def saliency(self, tokens: Tokens, how: Saliency = "gradient-input") -> Float[Tensor, "n l"]:
        """How much each token matters to what the classifier itself says of its text; 0 for filling.

        "gradient-input" is the length of (gradient of the cross-entropy with the predicted class) x (word vector),
        "gradient" the sum of the absolute gradient of the predicted class's logit. Source: arXiv 2604.12277 (section on
        saliency), and its published code.
        """
        length = tokens.ids.shape[1]

        def found(ids: Tensor, mask: Tensor) -> Tensor:
            with torch.enable_grad(), self._seen() as seen:
                logits = self._whole(ids, mask)
                said = logits.argmax(dim=1)
                chosen = logits.gather(1, said[:, None]).sum()
                value = chosen if how == "gradient" else cross_entropy(logits, said, reduction="sum")
                (gradient,) = torch.autograd.grad(value, seen[0])
            each = gradient.abs().sum(dim=2) if how == "gradient" else (gradient * seen[0]).norm(dim=2)
            return pad(each.detach() * mask, (0, length - ids.shape[1]))

        return self._each(tokens, length, found)

    @contextmanager
    def _seen(self) -> Iterator[list[Tensor]]:
        """Inside, the word vectors that a pass looks up are cut off from their table and kept."""
        seen: list[Tensor] = []

        def keep(module: nn.Module, given: Any, found: Tensor) -> Tensor:
            seen.append(found.detach().requires_grad_())
            return seen[-1]

        handle = self.words.register_forward_hook(keep)
        try:
            yield seen
        finally:
            handle.remove()

    def _whole(self, ids: Int[Tensor, "n l"], mask: Int[Tensor, "n l"]) -> Float[Tensor, "n c"]:
        found: Tensor = self.network(input_ids=ids, attention_mask=mask).logits
        return found

    def _body(self, ids: Int[Tensor, "n l"], mask: Int[Tensor, "n l"], part: Part) -> Float[Tensor, "n d"]:
        made = self.network.base_model(input_ids=ids, attention_mask=mask)  # type: ignore[operator]
        found: Tensor = made.last_hidden_state[:, 0] if part == "cls" else made.pooler_output
        return found

    def _each(self, tokens: Tokens, width: int, made: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """What `made` makes of token numbers and their mask, run in sub-batches filled up to their own longest."""
        if not len(tokens):
            return next(self.parameters()).new_zeros(0, width)
        ordered, back = tokens.longest_first()
        lengths = ordered.lengths.tolist()
        parts = []
        for cut in sub_batches(lengths):
            ids = ordered.ids[cut, : lengths[cut.start]]
            mask = torch.arange(ids.shape[1], device=ids.device) < ordered.lengths[cut, None]
            parts.append(made(ids, mask.long()))
        return torch.cat(parts)[back]


def classes_in(config: Mapping[str, Any]) -> list[str]:
    """The names of a classifier's classes, in the order of its logits."""
    named = {int(place): str(name) for place, name in config["id2label"].items()}
    return [named[place] for place in sorted(named)]


def classifier_facts(base: Base, max_length: int | None = None) -> dict[str, Any]:
    """All that shapes a classifier, as JSON; raises `UserError` when `max_length` is more than it has positions for."""
    if max_length is not None and max_length > base.max_length:
        raise UserError(f"max_length={max_length}: {base.source} reads at most {base.max_length} tokens")
    facts = {name: getattr(base, name) for name in ("source", "config", "padding", "special")}
    return facts | {"max_length": max_length or base.max_length}


def read_classifier(source: str) -> Base:
    """Read a finished classifier from a folder or the Hugging Face hub: weights from safetensors alone, no code.

    Raises `UserError` when it is none, when its head is not that of a transformers classifier of texts, or when it
    says numbers or several classes at once.
    """
    folder = folder_of(source, "text", ())
    stated = read_json(folder / "config.json") or {}
    if stated.get("auto_map"):
        raise UserError(
            f"{folder}: the model has code of its own, which is never run; take one that transformers knows"
        )
    head = ", ".join(stated.get("architectures") or []) or "not said"
    if not head.endswith(HEAD) and (folder / "config.json").is_file():
        raise UserError(f"{folder}: unknown head ({head}); a transformers model ...{HEAD} is needed")
    tokenizer, config = tokenizer_and_config(folder, "a classifier of texts")
    if config.get("problem_type") in ("regression", "multi_label_classification") or len(config["id2label"]) < 2:
        raise UserError(f"{folder}: it says a number or several classes at once; one class of two or more is needed")
    return Base(
        source=source,
        config=plain_config(config),
        state=stored(folder),
        tokenizer=tokenizer.backend_tokenizer.to_str(),
        padding=int(tokenizer.pad_token_id or 0),
        pooling="cls",
        max_length=min(int(tokenizer.model_max_length), _positions(config)),
        prompts={},
        special=special_tokens(tokenizer),
    )


def is_classifier(source: str) -> bool:
    """Whether a source is a folder with a finished classifier, and not an encoder to begin with."""
    stated = None if source in OWN else read_json(Path(source).expanduser() / "config.json")
    return any(name.endswith(HEAD) for name in (stated or {}).get("architectures") or [])


def without_head(source: str, classes: Sequence[str]) -> Base:
    """An encoder as the beginning of a classifier of these classes: its weights have no head yet.

    Raises `UserError` when transformers has no such classifier.
    """
    base = read_base(source)
    names = {str(place): str(name) for place, name in enumerate(classes)}
    config = {**base.config, "id2label": names, "label2id": {name: int(place) for place, name in names.items()}}
    prefix = f"{_network_class(config).base_model_prefix}."
    state = {prefix + name: tensor for name, tensor in base.state.items()}
    longest = min(base.max_length, _positions(config))
    return Base(source, config, state, base.tokenizer, base.padding, "cls", longest, {}, base.special)


def write_classifier(folder: Path, classifier: SequenceClassifier) -> None:
    """Write a folder that transformers reads: config.json, model.safetensors, tokenizer.json, tokenizer_config.json."""
    network, facts = classifier.network, classifier.facts
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = {**json.loads(classifier.tokeniser.json()), "truncation": None}  # whoever uses it says where to cut
    write_text(folder / "tokenizer.json", json.dumps(tokenizer, ensure_ascii=False))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": facts["max_length"]}
    write_json(
        folder / "tokenizer_config.json",
        {**settings, "model_input_names": ["input_ids", "attention_mask"], **facts["special"]},
    )
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
    write_json(folder / "config.json", {**facts["config"], "architectures": [type(network).__name__]})


def _network(config: Mapping[str, Any], dropout: float | None) -> nn.Module:
    """The classifier of a configuration, with random weights."""
    rates = {name: dropout for name, value in config.items() if "dropout" in name and isinstance(value, float)}
    made = _config({**config, **(rates if dropout is not None else {})})
    found: nn.Module = _network_class(config)(made)
    return found.float()


def _network_class(config: Mapping[str, Any]) -> Any:
    """The class of transformers for a configuration; raises `UserError` when there is none."""
    models = need("transformers", "text").models.auto.modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    try:
        return models[type(_config(config))]
    except KeyError:
        raise UserError(f"transformers has no classifier of texts for {config.get('model_type')}") from None


def _config(config: Mapping[str, Any]) -> Any:
    return need("transformers", "text").AutoConfig.for_model(**config)


def _positions(config: Mapping[str, Any]) -> int:
    """Tokens that a network has positions for; RoBERTa and its kin count theirs from the padding's number on."""
    positions = int(config.get("max_position_embeddings", 512))
    shifted = any(kind in config["model_type"] for kind in ("roberta", "camembert", "mpnet"))
    return positions - int(config.get("pad_token_id") or 0) - 1 if shifted else positions


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)
