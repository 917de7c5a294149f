"""Distils a student from the teacher's captured answers: a small causal language model that vLLM serves.

    python -m examples.sections.student --captured captured.jsonl --recipe good --out DIR

Runs in the environment of `examples/vllm_cpu/install.sh`. Owns the model, its tokenizer and its training. It must not
see a gold label, nor any held-out input: all it knows of the task is in the captured file, a line an answer:

    {"input": "the description", "answer": "games", "top_logprobs": {"games": -0.1, "sound": -3.2, …} or null}

The chat template shows the model the user's text alone, since a student knows its one task. The answer is one token and
the end. Deterministic for a given file, recipe, seed and number of threads.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from examples.sections.task import SECTIONS

BEGIN, ANSWER, END = "<|begin|>", "<|answer|>", "<|end|>"
CHAT_TEMPLATE = (
    f"{BEGIN}{{% for m in messages %}}{{% if m['role'] == 'user' %}}{{{{ m['content'] }}}}{{% endif %}}{{% endfor %}}{ANSWER}"
)
MAX_INPUT_TOKENS = 64
VALIDATION_EVERY = 20
HEAD_DIM = 64
REPORT_EVERY = 100
BATCHES_SORTED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train. `soft`: learn the teacher's probabilities where they were captured, else its answer alone. `rows`
    bounds what is learned from (None: everything). `hidden` parts of the input's tokens are masked out at random."""

    vocabulary: int
    width: int
    layers: int
    steps: int
    batch: int
    rate: float
    soft: bool
    rows: int | None = None
    hidden: float = 0.1


RECIPES: dict[str, Recipe] = {
    # Two minutes on two cores: the answers alone, few of them, few steps. Some ten points below its teacher.
    "quick": Recipe(vocabulary=4_096, width=192, layers=2, steps=500, batch=48, rate=2e-3, soft=False, rows=6_000),
    # The teacher is linear over words and letters: wide embeddings and a shallow network imitate it best.
    "good": Recipe(vocabulary=12_000, width=256, layers=2, steps=3_500, batch=128, rate=2e-3, soft=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One captured answer: the teacher's probability of every section, one-hot where only its answer is known."""

    text: str
    section: int
    soft: tuple[float, ...]


def read_captured(path: Path) -> list[Captured]:
    """Rows whose answer is a section; others teach nothing. Raises ValueError where none is left."""
    rows = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            answer = str(row["answer"] or "").strip()
            if answer in SECTIONS:
                section = SECTIONS.index(answer)
                rows.append(Captured(text=row["input"], section=section, soft=_soft(row.get("top_logprobs"), section)))
    if not rows:
        raise ValueError(f"{path}: no captured answer names one of {', '.join(SECTIONS)}")
    return rows


def _soft(logprobs: dict[str, float] | None, section: int) -> tuple[float, ...]:
    if not logprobs:
        return tuple(float(index == section) for index in range(len(SECTIONS)))
    weights = [math.exp(logprobs[name]) if name in logprobs else 0.0 for name in SECTIONS]
    return tuple(weight / math.fsum(weights) for weight in weights)


# --- tokenizer and model ----------------------------------------------------------------------------------------------


def tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of the captured inputs, with one token for every section's name."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BEGIN, ANSWER, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    # A word of the input begins with a space, so a name without one is a token of the answer alone.
    described = json.loads(core.to_str())
    words = described["model"]["vocab"]
    for name in SECTIONS:
        words.setdefault(name, len(words))
    return Tokenizer.from_str(json.dumps(described))


def build(core: Tokenizer, recipe: Recipe) -> Qwen2ForCausalLM:
    """The untrained model."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=core.get_vocab_size(),
            hidden_size=recipe.width,
            intermediate_size=2 * recipe.width,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.width // HEAD_DIM,
            num_key_value_heads=1,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=core.token_to_id(BEGIN),
            eos_token_id=core.token_to_id(END),
            pad_token_id=core.token_to_id(END),
        )
    )


def save(model: Qwen2ForCausalLM, core: Tokenizer, out: Path) -> None:
    """Write what vLLM loads."""
    words = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=BEGIN, eos_token=END, pad_token=END, model_max_length=256
    )
    words.chat_template = CHAT_TEMPLATE
    words.save_pretrained(out)
    model.save_pretrained(out)


# --- training ---------------------------------------------------------------------------------------------------------


class Trainer:
    """Trains one model on encoded rows. The loss looks at two places only: the answer's token and the end after it."""

    def __init__(self, core: Tokenizer, recipe: Recipe, seed: int) -> None:
        torch.manual_seed(seed)
        self._rng = np.random.default_rng(seed)
        self._recipe = recipe
        self._core = core
        self.model = build(core, recipe)
        self._names = torch.tensor([core.token_to_id(name) for name in SECTIONS])
        self._end = core.token_to_id(END)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids as the chat template renders them, cut to a bound."""
        encoded = self._core.encode_batch([f"{BEGIN}{text}{ANSWER}" for text in texts])
        return [one.ids if len(one.ids) <= MAX_INPUT_TOKENS else [*one.ids[: MAX_INPUT_TOKENS - 1], one.ids[-1]] for one in encoded]

    def fit(self, inputs: Sequence[list[int]], rows: Sequence[Captured]) -> None:
        """Train for the recipe's steps."""
        recipe, began, smoothed = self._recipe, time.monotonic(), 0.0
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        rest = [p for p in self.model.parameters() if p.dim() <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
        targets = torch.tensor([row.soft if recipe.soft else _soft(None, row.section) for row in rows])
        self.model.train()
        for step, chosen in zip(range(recipe.steps), self._batches(inputs), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * min(1.0, (step + 1) / 100) * (1 + math.cos(math.pi * step / recipe.steps)) / 2
            loss = self._loss([inputs[i] for i in chosen], [rows[i].section for i in chosen], targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            smoothed = loss.item() if step == 0 else 0.98 * smoothed + 0.02 * loss.item()
            if (step + 1) % REPORT_EVERY == 0:
                print(f"step {step + 1}/{recipe.steps}  loss {smoothed:.3f}  {time.monotonic() - began:.0f} s", flush=True)
        self.model.eval()

    def answers(self, inputs: Sequence[list[int]]) -> list[int]:
        """The most probable section of every input."""
        found: list[int] = []
        with torch.no_grad():
            for start in range(0, len(inputs), 256):
                hidden, last = self._hidden([[*one] for one in inputs[start : start + 256]])
                logits = hidden[torch.arange(len(last)), last] @ self.model.get_input_embeddings().weight[self._names].T
                found.extend(int(index) for index in logits.argmax(dim=1))
        return found

    def _batches(self, inputs: Sequence[list[int]]) -> Iterator[np.ndarray]:
        """Rows drawn without replacement, epoch by epoch, those of like length together."""
        size = self._recipe.batch
        while True:
            order = self._rng.permutation(len(inputs))
            for start in range(0, len(order), size * BATCHES_SORTED):
                part = sorted(order[start : start + size * BATCHES_SORTED], key=lambda i: len(inputs[i]))
                batches = [np.array(part[at : at + size]) for at in range(0, len(part), size)]
                for place in self._rng.permutation(len(batches)):
                    yield batches[place]

    def _loss(self, inputs: list[list[int]], sections: list[int], targets: torch.Tensor) -> torch.Tensor:
        answered = [[*self._masked(one), int(self._names[section])] for one, section in zip(inputs, sections, strict=True)]
        hidden, last = self._hidden(answered)
        rows = torch.arange(len(last))
        words = self.model.get_input_embeddings().weight
        at_answer = torch.log_softmax(hidden[rows, last - 1] @ words.T, dim=1)
        at_end = torch.log_softmax(hidden[rows, last] @ words.T, dim=1)
        return -(targets * at_answer[:, self._names]).sum(dim=1).mean() - at_end[:, self._end].mean()

    def _masked(self, ids: list[int]) -> list[int]:
        drawn = self._rng.random(len(ids)) < self._recipe.hidden
        inner = range(1, len(ids) - 1)
        return [self._end if at in inner and drawn[at] else token for at, token in enumerate(ids)]

    def _hidden(self, inputs: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states, and the index of each row's last token. Rows are padded on the right, which causal models ignore."""
        longest = max(map(len, inputs))
        ids = torch.tensor([[*one, *[self._end] * (longest - len(one))] for one in inputs])
        last = torch.tensor([len(one) - 1 for one in inputs])
        return self.model.model(input_ids=ids).last_hidden_state, last


def distil(captured: Path, name: str, out: Path, seed: int) -> dict[str, Any]:
    """Train by the recipe `name`, write the model to `out`; returns the training record."""
    began, recipe, rows = time.monotonic(), RECIPES[name], read_captured(captured)
    kept_out = rows[::VALIDATION_EVERY]
    learned = [row for at, row in enumerate(rows) if at % VALIDATION_EVERY]
    if recipe.rows is not None:
        drawn = np.random.default_rng(seed).permutation(len(learned))[: recipe.rows]
        learned = [learned[at] for at in sorted(drawn)]
    core = tokenizer([row.text for row in learned], recipe.vocabulary)
    trainer = Trainer(core, recipe, seed)
    trainer.fit(trainer.encode([row.text for row in learned]), learned)
    answers = trainer.answers(trainer.encode([row.text for row in kept_out]))
    save(trainer.model, core, out)
    return {
        "recipe": name,
        **asdict(recipe),
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "captured_rows": len(rows),
        "learned_rows": len(learned),
        "validation_rows": len(kept_out),
        "validation_agreement": float(np.mean([a == row.section for a, row in zip(answers, kept_out, strict=True)])),
        "seconds": round(time.monotonic() - began, 1),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--captured", type=Path, required=True)
    parser.add_argument("--recipe", choices=sorted(RECIPES), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    record = distil(given.captured, given.recipe, given.out, given.seed)
    (given.out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
