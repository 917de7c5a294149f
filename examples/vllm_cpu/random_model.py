"""Makes a tiny chat model with random weights, in Hugging Face format: for tests of the wire, never of quality.

Runs in the environment of `install.sh`, takes some ten seconds and needs no network:

    python random_model.py OUT_DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CONTEXT_TOKENS = 8_192
VOCABULARY = 4_096
TRAINING_FILES = 60
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(context_tokens: int) -> PreTrainedTokenizerFast:
    """Train a byte-level tokenizer on the sources of the standard library, text that every machine has."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sources = sorted(Path(argparse.__file__).parent.glob("*.py"))[:TRAINING_FILES]
    core.train([str(source) for source in sources], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        model_max_length=context_tokens,
    )
    made.chat_template = CHAT_TEMPLATE
    return made


def make(out: Path, *, seed: int = 0) -> int:
    """Write model and tokenizer into `out`; return the number of parameters."""
    words = tokenizer(CONTEXT_TOKENS)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        eos_token_id=words.eos_token_id,
        bos_token_id=words.bos_token_id,
        torch_dtype="float32",
    )
    model = Qwen2ForCausalLM(config)
    words.save_pretrained(out)
    model.save_pretrained(out)
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    count = make(arguments.out, seed=arguments.seed)
    print(f"{arguments.out}: {count:,} parameters, random")


if __name__ == "__main__":
    main()
