"""Tokenizer, chat template and training tokens of the demo world."""

import json
import os

import numpy as np
import torch

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer(texts, vocabulary):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # Words with their leading space; every digit alone; runs of punctuation; line ends.
    pattern = r"\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def prepare(world, out, vocabulary, tokenizer=None):
    """Tokens of all training documents, and the tokenizer in `out`. Kept in the world's folder for the next run.

    `tokenizer` is the tokenizer.json to take; without one it is trained on the first documents.
    """
    from tokenizers import Tokenizer

    tokens_file, tokenizer_file = f"{world}/tokens.npy", f"{world}/tokenizer.json"
    if not os.path.exists(tokens_file):
        with open(f"{world}/train.jsonl") as lines:
            documents = [json.loads(line)["text"] for line in lines]
        made = Tokenizer.from_file(tokenizer) if tokenizer else build_tokenizer(documents[:60000], vocabulary)
        made.save(tokenizer_file)
        ids = []
        for start in range(0, len(documents), 10000):
            for encoding in made.encode_batch(documents[start : start + 10000]):
                ids.extend(encoding.ids)
                ids.append(0)
        np.save(tokens_file, np.array(ids, dtype=np.int16))
    Tokenizer.from_file(tokenizer_file).save(f"{out}/tokenizer.json")
    tokenizer_config = dict(
        tokenizer_class="PreTrainedTokenizerFast",
        model_max_length=512,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    with open(f"{out}/tokenizer_config.json", "w") as file:
        json.dump(tokenizer_config, file, indent=2)
    return torch.from_numpy(np.load(tokens_file))
