"""Makes a forward golden from transformers: a tiny random checkpoint with what a correct implementation computes.

    make_golden.py FOLDER MODEL_TYPE [KEY=JSON ...]

FOLDER is made, in the form of test/goldens/README.md; the forward test finds it below test/goldens/forward. KEY=JSON are
options of the family's config beside SIZES (of the text model's config, where the family is multimodal); KEY=null takes one
of SIZES away. expected.json records them, so that the golden can be made again.

Tokens are drawn until no choice of an expert, and no token that is generated, hangs on rounding.
"""
import json
import os
import re
import sys
from contextlib import contextmanager

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoConfig

from auto_model import auto_class, text_logits
from make_family_models import nested, rename_layers

torch.set_num_threads(1)
torch.set_grad_enabled(False)

SIZES = dict(vocab_size=256, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.1, pad_token_id=0,
             bos_token_id=None, eos_token_id=None)
# Sequences and tokens of the first input, tokens of the second, of the prompt, and of its answer.
SEQUENCES, TOKENS, SECOND, PROMPT, ANSWER = 2, 24, 37, 8, 16
# Router logits may change by this much, and generated tokens lead by at least this much.
ROUTER_NOISE, TOKEN_GAP = 1e-4, 1e-3
TRIES = 200
# Blocks that multiply the sum of the experts in place of their weights.
SCALED_SUMS = ("MiniMaxM3VLSparseMoeBlock", "LagunaSparseMoeBlock", "Step3p7SparseMoeBlock")


def make_checkpoint(folder, family, options):
    """Saves a random model as the hub has the family. One-dimensional weights differ from ones and zeros."""
    config = AutoConfig.for_model(family, **nested(family, options))
    model_class = auto_class(family)
    model = getattr(model_class, "from_config", getattr(model_class, "_from_config", None))(config)
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if tensor.ndim <= 1 and tensor.is_floating_point():
            tensor.add_(0.1 * torch.randn_like(tensor))
        elif ".experts." in name or "correction_bias" in name or ".gate." in name or "router" in name:
            tensor.normal_(0, 0.15)
    model.to(torch.bfloat16)
    for module in model.modules():
        for name, tensor in [*module.named_buffers(recurse=False), *module.named_parameters(recurse=False)]:
            # Rounding them would change choices, so that checkpoints have them in float32.
            if name in ("e_score_correction_bias", "expert_bias"):
                tensor.data = tensor.data.float()
    model.save_pretrained(folder)
    if os.path.exists(f"{folder}/generation_config.json"):
        os.remove(f"{folder}/generation_config.json")
    if family == "kimi_k25":
        rename_layers(f"{folder}/model.safetensors")
    return model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


class Recorder:
    """Records what decoder layers and MoE blocks compute. The experts' module is called with its input, the choices
    and their weights; the router's logits are the product with the weight that has a row for each expert."""

    def __init__(self, model):
        self.found = {}
        self.noise = 0.0
        self.routers = {}
        layers = next(modules for name, modules in model.named_modules() if re.search(r"(^|\.)(layers|blocks)$", name)
                      and any(part.endswith(".experts") for part, _ in modules.named_modules()))
        self.moe_layers = []
        for index, layer in enumerate(layers):
            layer.register_forward_hook(lambda _, args, out, l=index: self.put(f"hidden.{l}", first(out)))
            names = [name for name, _ in layer.named_modules() if re.fullmatch(r"(.*\.)?experts", name)]
            if names:
                self.moe_layers.append(index)
                self.watch(index, layer, names[0])

    def put(self, name, tensor):
        self.found[name] = tensor.detach().float().clone()

    def watch(self, index, layer, name):
        prefix = f"moe.{index}."
        experts = layer.get_submodule(name)
        block = layer.get_submodule(name.rpartition(".")[0])
        scale = block.routed_scaling_factor if type(block).__name__ in SCALED_SUMS else 1.0
        experts.register_forward_pre_hook(lambda _, args, kwargs: self.choices(prefix, scale, *[*args, *kwargs.values()][1:3]), with_kwargs=True)
        for part, weight in block.named_parameters():
            if re.search(r"(^|\.)(gate|router)\b", part) and weight.ndim == 2 and "shared" not in part and "experts." not in part:
                self.routers[weight.data_ptr()] = f"{prefix}router_logits"
        if block is layer:
            # Gemma 4: router, experts and a dense block are parts of the layer, whose sum passes a norm.
            layer.router.register_forward_pre_hook(lambda _, args: self.put(f"{prefix}input", args[0]))
            layer.post_feedforward_layernorm.register_forward_pre_hook(lambda _, args: self.put(f"{prefix}output", args[0]))
            return
        block.register_forward_pre_hook(lambda _, args, kwargs: self.put(f"{prefix}input", [*args, *kwargs.values()][0]), with_kwargs=True)
        block.register_forward_hook(lambda _, args, out: self.put(f"{prefix}output", first(out)))
        if hasattr(layer, "shared_mlp"):
            # Granite: the shared expert lies beside the block.
            layer.shared_mlp.register_forward_hook(
                lambda _, args, out: self.put(f"{prefix}output", self.found[f"{prefix}output"] + out))

    def choices(self, prefix, scale, selected, weights):
        """In ascending order of the experts."""
        selected, order = selected.sort(dim=-1)
        self.found[f"{prefix}selected"] = selected.int()
        self.put(f"{prefix}weights", scale * weights.gather(-1, order))

    @contextmanager
    def watching(self):
        linear = functional.linear

        def recorded(x, weight, bias=None):
            out = linear(x, weight, bias)
            name = self.routers.get(weight.data_ptr())
            if name is None:
                return out
            out = out + self.noise * (2 * torch.rand_like(out) - 1)
            self.put(name, out.reshape(-1, out.shape[-1]))
            return out

        functional.linear = torch.nn.functional.linear = recorded
        try:
            yield
        finally:
            functional.linear = torch.nn.functional.linear = linear

    def run(self, model, ids, noise=0.0):
        """Logits and everything that was recorded."""
        self.found, self.noise = {}, noise
        with self.watching():
            logits = text_logits(model, ids).float()
        return {"logits": logits, **self.found}


def first(out):
    return out[0] if isinstance(out, tuple) else out


def choices(found):
    return {name: tensor for name, tensor in found.items() if name.endswith(".selected")}


def is_stable(recorder, model, ids):
    """Whether no choice of an expert changes where the router's logits do so a little."""
    wanted = choices(recorder.run(model, ids))
    return all(torch.equal(tensor, wanted[name]) for _ in range(4)
               for name, tensor in choices(recorder.run(model, ids, ROUTER_NOISE)).items())


def stable_ids(recorder, model, shape, vocabulary):
    """Each sequence by itself: most draws of many tokens have one that is near a tie."""
    rows = []
    for _ in range(TRIES):
        ids = torch.randint(1, vocabulary, (1, shape[1]))
        if is_stable(recorder, model, ids):
            rows.append(ids)
        if len(rows) == shape[0]:
            return torch.cat(rows)
    sys.exit(f"no {shape} tokens found whose experts are not near a tie")


def answer(model, prompt):
    """Greedy tokens by whole passes, and the smallest lead of one."""
    ids, gap = prompt, float("inf")
    for _ in range(ANSWER):
        best = text_logits(model, ids)[0, -1].topk(2)
        gap = min(gap, float(best.values[0] - best.values[1]))
        ids = torch.cat([ids, best.indices[:1][None]], dim=1)
    return ids[0, prompt.shape[1]:].tolist(), gap


def generation(recorder, model, vocabulary):
    for _ in range(TRIES):
        prompt = torch.randint(1, vocabulary, (1, PROMPT))
        generated, gap = answer(model, prompt)
        whole = torch.cat([prompt, torch.tensor([generated])], dim=1)
        if gap > TOKEN_GAP and is_stable(recorder, model, whole):
            break
    else:
        sys.exit("no prompt found whose answer is not near a tie")
    text_model = getattr(model, "thinker", model)
    cached = text_model.generate(prompt, max_new_tokens=ANSWER, min_new_tokens=ANSWER, do_sample=False, pad_token_id=0)[0, PROMPT:]
    if cached.tolist() != generated:
        sys.exit(f"transformers generates other tokens with a cache: {cached.tolist()}, {generated}")
    return {"prompt": prompt[0].tolist(), "generated": generated, "smallest_top2_gap": gap}


def layout(folder):
    """Names with # for numbers, dtypes and shapes."""
    lines = {}
    count = 0
    for file in sorted(os.listdir(folder)):
        if file.startswith("model") and file.endswith(".safetensors"):
            with safe_open(f"{folder}/{file}", "pt") as tensors:
                for name in tensors.keys():
                    count += 1
                    piece = tensors.get_slice(name)
                    lines[re.sub(r"(?<=\.)\d+(?=\.)", "#", name)] = f"{piece.get_dtype()} {piece.get_shape()}"
    return count, dict(sorted(lines.items()))


def main():
    folder, family, *given = sys.argv[1:]
    changes = {key: json.loads(value) for key, _, value in (option.partition("=") for option in given)}
    seed = changes.pop("seed", 0)
    options = {key: value for key, value in {**SIZES, **changes}.items() if key not in changes or value is not None}
    os.makedirs(folder)
    torch.manual_seed(seed)
    model = make_checkpoint(folder, family, options)
    recorder = Recorder(model)
    vocabulary = options["vocab_size"]
    ids = stable_ids(recorder, model, (SEQUENCES, TOKENS), vocabulary)
    second = stable_ids(recorder, model, (1, SECOND), vocabulary)
    tensors = {"input_ids": ids.int(), "input_ids_b": second.int(), "logits_b": text_logits(model, second).float()}
    tensors.update(recorder.run(model, ids))
    for name in list(tensors):
        if re.search(r"^moe\..*\.(input|output)$", name):
            tensors[name] = tensors[name].reshape(SEQUENCES, TOKENS, -1)
    kinds = ("input", "output", "router_logits", "selected", "weights")
    missing = [f"moe.{l}.{kind}" for l in recorder.moe_layers for kind in kinds if f"moe.{l}.{kind}" not in tensors]
    if missing:
        sys.exit(f"not found in the model: {missing}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{folder}/expected.safetensors")
    count, names = layout(folder)
    expected = {
        "model_type": family, "stored_dtype": "bfloat16", "transformers": transformers.__version__, "attention": "eager",
        "compute_dtype": "float32", "moe_layers": recorder.moe_layers, "quantization": None, "config_style": "transformers",
        "options": changes, "seed": seed, "generation": generation(recorder, model, vocabulary),
        "router_margin": ROUTER_NOISE,
        "tolerance": {"logits_abs": 2e-4, "hidden_abs": 2e-4, "router_logits_abs": 1e-4, "weights_abs": 2e-5},
        "logits_std": float(tensors["logits"].std()), "tensors": count, "layout": names,
    }
    with open(f"{folder}/expected.json", "w") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
