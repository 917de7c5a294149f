"""Trains a student from the teacher's captured answers and writes it as a model directory for vLLM.

A student is a small causal language model that reads a description and says one token, the section's name. It is
taught the teacher's probability of every section (where captured), at that one position only: all its capacity goes
into the answer. Owns tokenizer, architecture, recipes and training. It never sees a gold label and must not read the
shipped data: only the captured file. Runs in the environment of `examples/vllm_cpu/install.sh`:

    python -m examples.sections.student --captured captured.jsonl --recipe quick|good --out DIR

Another recipe is another entry in `RECIPES`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.sections.captured import Captured, hold_out, read_captured
from examples.sections.task import SECTIONS, canonical

END, ANSWER = "<|end|>", "<|answer|>"
# A student knows its task: it is shown the last user message and nothing else.
CHAT_TEMPLATE = (
    "{% set ns = namespace(text='') %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.text = m['content'] %}{% endif %}{% endfor %}"
    "{{ ns.text | trim }}" + ANSWER
)
CONTEXT_TOKENS = 256
MAX_INPUT_TOKENS = 64
NAME_REPEATS = 20_000
BATCHES_SORTED_TOGETHER = 16
WARM_UP_SHARE = 0.06
GRADIENT_NORM = 1.0
END_WEIGHT = 0.1
PROGRESS_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Size and training of a student.

    `subword_dropout` is the chance to leave out a merge of the tokenizer, `word_dropout` that to leave out a word:
    both show the same description in many spellings.
    """

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    steps: int
    batch: int
    peak_rate: float
    weight_decay: float
    subword_dropout: float
    word_dropout: float


RECIPES: dict[str, Recipe] = {
    "quick": Recipe(
        vocabulary=4_096,
        hidden=192,
        intermediate=512,
        layers=3,
        heads=6,
        steps=500,
        batch=64,
        peak_rate=1e-3,
        weight_decay=0.05,
        subword_dropout=0.0,
        word_dropout=0.0,
    ),
    "good": Recipe(
        vocabulary=12_288,
        hidden=256,
        intermediate=768,
        layers=2,
        heads=8,
        steps=2_500,
        batch=128,
        peak_rate=1.5e-3,
        weight_decay=0.1,
        subword_dropout=0.1,
        word_dropout=0.05,
    ),
}


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a lower-casing byte-level tokenizer in which every section's name is one token."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, ANSWER],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([*texts, *SECTIONS * NAME_REPEATS], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=END,
        model_max_length=CONTEXT_TOKENS,
        additional_special_tokens=[ANSWER],
    )
    made.chat_template = CHAT_TEMPLATE
    return made


def make_model(recipe: Recipe, words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build the untrained model."""
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return LlamaForCausalLM(config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Right-padded inputs, each ending in the answer's mark (at `ends`) and the teacher's answer."""

    ids: torch.Tensor
    ends: torch.Tensor
    targets: torch.Tensor


class Encoder:
    """Turns captured rows into batches; spells them with the recipe's dropouts where it is given a `random.Random`."""

    def __init__(self, words: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self._core = Tokenizer.from_str(words.backend_tokenizer.to_str())
        self._recipe = recipe
        self._end, self._mark = words.eos_token_id, words.convert_tokens_to_ids(ANSWER)
        self.names = torch.tensor([self._single(name) for name in SECTIONS])

    def _single(self, name: str) -> int:
        ids = self._core.encode(name, add_special_tokens=False).ids
        if len(ids) != 1:
            raise ValueError(f"{name!r} is {len(ids)} tokens, it must be one: train the tokenizer on more repeats")
        return int(ids[0])

    def __call__(self, rows: Sequence[Captured], rng: random.Random | None = None) -> Batch:
        texts = [canonical(row.input) for row in rows]
        self._core.model.dropout = None
        if rng is not None:
            texts = [self._drop_words(text, rng) for text in texts]
            self._core.model.dropout = self._recipe.subword_dropout or None
        spelt = [encoded.ids[:MAX_INPUT_TOKENS] for encoded in self._core.encode_batch(texts, add_special_tokens=False)]
        ids = torch.full((len(rows), max(map(len, spelt)) + 2), self._end)
        for index, (row, tokens) in enumerate(zip(rows, spelt, strict=True)):
            answer = int(self.names[SECTIONS.index(row.answer)])
            ids[index, : len(tokens) + 2] = torch.tensor([*tokens, self._mark, answer])
        ends = torch.tensor([len(tokens) for tokens in spelt])
        return Batch(ids=ids, ends=ends, targets=torch.tensor([row.target() for row in rows]))

    def _drop_words(self, text: str, rng: random.Random) -> str:
        words = text.split(" ")
        kept = [word for word in words if rng.random() >= self._recipe.word_dropout]
        return " ".join(kept or words)


def loss_of(model: LlamaForCausalLM, batch: Batch, names: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy with the teacher at the answer, and with the end at the token after it.

    Padding stands behind what is read, where a causal model does not look: no mask is needed.
    """
    states = model.model(input_ids=batch.ids).last_hidden_state
    rows = torch.arange(len(batch.ends))
    answer = functional.log_softmax(model.lm_head(states[rows, batch.ends]).float(), dim=-1)
    end = functional.log_softmax(model.lm_head(states[rows, batch.ends + 1]).float(), dim=-1)
    taught = -(batch.targets * answer[:, names]).sum(dim=1).mean()
    return taught - END_WEIGHT * end[:, model.config.eos_token_id].mean()


def batches(rows: Sequence[Captured], size: int, rng: random.Random) -> Iterator[list[Captured]]:
    """Yield batches without end, every row once an epoch, rows of like length together."""
    while True:
        order = rng.sample(rows, len(rows))
        cut: list[list[Captured]] = []
        window = size * BATCHES_SORTED_TOGETHER
        for start in range(0, len(order), window):
            alike = sorted(order[start : start + window], key=lambda row: len(row.input))
            cut += [alike[first : first + size] for first in range(0, len(alike), size)]
        rng.shuffle(cut)
        yield from cut


def rate_at(step: int, recipe: Recipe) -> float:
    """Return the learning rate: a linear rise, then a half cosine down to nothing."""
    warm_up = max(1, int(recipe.steps * WARM_UP_SHARE))
    if step < warm_up:
        return recipe.peak_rate * (step + 1) / warm_up
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (recipe.steps - warm_up)))


def optimizer_of(model: LlamaForCausalLM, recipe: Recipe) -> torch.optim.Optimizer:
    """Decay matrices, neither norms nor embeddings: a rare word's vector would decay between its few gradients."""
    decayed = [p for name, p in model.named_parameters() if p.ndim > 1 and "embed" not in name]
    known = {id(p) for p in decayed}
    others = [p for p in model.parameters() if id(p) not in known]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=(0.9, 0.98), fused=True)


@torch.no_grad()
def answers(model: LlamaForCausalLM, encode: Encoder, rows: Sequence[Captured], size: int = 256) -> list[str]:
    """Return the student's section for each row: the likeliest name after the answer's mark."""
    said: list[str] = []
    for start in range(0, len(rows), size):
        batch = encode(rows[start : start + size])
        states = model.model(input_ids=batch.ids).last_hidden_state
        scores = model.lm_head(states[torch.arange(len(batch.ends)), batch.ends])[:, encode.names]
        said += [SECTIONS[int(best)] for best in scores.argmax(dim=1)]
    return said


def agreement(model: LlamaForCausalLM, encode: Encoder, rows: Sequence[Captured]) -> float:
    """Return the share of rows on which the student says what the teacher said; NaN if there are none."""
    said = answers(model, encode, rows)
    return sum(mine == row.answer for mine, row in zip(said, rows, strict=True)) / len(rows) if rows else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A student and how it came about."""

    model: LlamaForCausalLM
    words: PreTrainedTokenizerFast
    encode: Encoder
    report: dict[str, Any]


def train(rows: Sequence[Captured], recipe: Recipe, *, seed: int, say: Callable[[str], None]) -> Trained:
    """Train a student on captured answers. The same rows, recipe, seed and machine give the same student."""
    began = time.monotonic()
    rng = random.Random(seed)
    torch.manual_seed(seed)
    learnt, validation = hold_out(rows)
    words = make_tokenizer([canonical(row.input) for row in learnt], recipe.vocabulary)
    encode, model = Encoder(words, recipe), make_model(recipe, words)
    parameters = sum(p.numel() for p in model.parameters())
    say(f"{parameters / 1e6:.1f} M parameters, {len(learnt):,} rows, {recipe.steps:,} steps of {recipe.batch}")
    _run(model, encode, learnt, recipe, rng=rng, say=say)
    model.eval()
    report = {
        "recipe": asdict(recipe),
        "seed": seed,
        "parameters": parameters,
        "rows": len(learnt),
        "validation_rows": len(validation),
        "agreement": round(agreement(model, encode, validation), 4),
        "seconds": round(time.monotonic() - began, 1),
    }
    return Trained(model=model, words=words, encode=encode, report=report)


def _run(
    model: LlamaForCausalLM,
    encode: Encoder,
    rows: Sequence[Captured],
    recipe: Recipe,
    *,
    rng: random.Random,
    say: Callable[[str], None],
) -> None:
    optimizer = optimizer_of(model, recipe)
    model.train()
    began = said = time.monotonic()
    total = 0.0
    for step, chosen in enumerate(batches(rows, recipe.batch, rng)):
        if step == recipe.steps:
            return
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, recipe)
        loss = loss_of(model, encode(chosen, rng), encode.names)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        total = 0.98 * total + 0.02 * loss.item()
        if time.monotonic() - said > PROGRESS_S:
            said = time.monotonic()
            say(
                f"step {step + 1:,}/{recipe.steps:,}, loss {total / (1 - 0.98 ** (step + 1)):.3f}, {said - began:.0f} s"
            )


def save(trained: Trained, out: Path) -> None:
    """Write what `vllm serve` loads, and `training.json`."""
    out.mkdir(parents=True, exist_ok=True)
    trained.words.save_pretrained(out)
    trained.model.save_pretrained(out)
    (out / "training.json").write_text(json.dumps(trained.report, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--captured", type=Path, required=True)
    parser.add_argument("--recipe", choices=sorted(RECIPES), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)

    trained = train(list(read_captured(arguments.captured)), RECIPES[arguments.recipe], seed=arguments.seed, say=say)
    save(trained, arguments.out)
    say(f"{arguments.out}: agrees with the teacher on {trained.report['agreement']:.1%} of the captured rows held out")


if __name__ == "__main__":
    main()
