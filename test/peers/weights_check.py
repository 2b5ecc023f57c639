"""Prunes and quantises the experts of a model as the papers say, in PyTorch.

    weights_check.py MODEL TEXTS OUT

The experts of layer 1 that most tokens of TEXTS (JSON lines) go to, with the inputs that those tokens bring them. OUT
receives layer.safetensors: for each matrix `<name>.weight`, `<name>.inputs`, and for each method `<name>.<method>` in
float32, or `.codes`, `.scales`, `.zeros`. Written from the papers, in the form they were published in, and in float64:

- magnitude; Wanda (arXiv 2306.11695)
- SparseGPT (arXiv 2301.00774), with exact counts: after each block floor(share * weights so far) are zero
- GPTQ (arXiv 2210.17323); a group's scale is that of its weights after all updates so far. Activation order: groups of the
  columns as they lie, with the scales of the weights as given. Scales are those of compressed-tensors.
"""

import json
import sys

import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

LAYER, EXPERTS, TEXTS, BLOCK, DAMPING = 1, 3, 150, 128, 0.01


def first_smallest(scores, count):
    """A mask of the `count` smallest scores along the last axis, among equals the first ones."""
    order = scores.argsort(dim=-1, stable=True)
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order[..., :count], True)


def mask_of(scores, sparsity, whole):
    """The smallest of all or of each row, or of each run of n:m."""
    if isinstance(sparsity, tuple):
        zeros, of = sparsity
        return first_smallest(scores.reshape(-1, of), zeros).reshape(scores.shape)
    spans = scores.reshape(1, -1) if whole else scores
    return first_smallest(spans, int(sparsity * spans.shape[1])).reshape(scores.shape)


def hessian_of(inputs):
    inputs = inputs.double()
    return inputs.T @ inputs


def inverse_factor(hessian):
    """The upper Cholesky factor of the inverse of the damped Hessian."""
    damped = hessian.clone()
    damped.diagonal().add_(DAMPING * hessian.diagonal().mean())
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)


def sparsegpt(weight, inputs, sparsity):
    hessian = hessian_of(inputs)
    factor = inverse_factor(hessian)
    dead = hessian.diagonal() == 0
    weight = weight.double().clone()
    rows, columns = weight.shape
    zeros_so_far = 0

    def scores(block, start):
        score = block**2 / factor.diagonal()[start : start + block.shape[1]] ** 2
        score[:, dead[start : start + block.shape[1]]] = 0
        return score

    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        block = weight[:, start:end].clone()
        errors = torch.zeros_like(block)
        mask = torch.zeros_like(block, dtype=torch.bool)
        if not isinstance(sparsity, tuple):
            count = int(sparsity * rows * end) - zeros_so_far
            zeros_so_far += count
            mask = first_smallest(scores(block, start).reshape(-1), count).reshape(block.shape)
        for i in range(end - start):
            if isinstance(sparsity, tuple) and i % sparsity[1] == 0:
                run = slice(i, i + sparsity[1])
                mask[:, run] = first_smallest(scores(block[:, run], start + i), sparsity[0])
            value = torch.where(mask[:, i], 0, block[:, i])
            error = (block[:, i] - value) / factor[start + i, start + i]
            block[:, i:] -= error[:, None] * factor[start + i, start + i : end]
            weight[:, start + i] = value
            errors[:, i] = error
        weight[:, end:] -= errors @ factor[start:end, end:]
    return weight


def grid_of(values, arguments):
    """Scales and zero points of the rows of some values, computed in bfloat16."""
    values = values.float()
    low, high = values.amin(1).bfloat16(), values.amax(1).bfloat16()
    scales, zeros = calculate_qparams(low, high, arguments)
    return scales.float(), zeros.float()


def gptq(weight, inputs, bits, group, symmetric, activation_order):
    columns = weight.shape[1]
    group = group or columns
    arguments = QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy="channel")
    hessian = hessian_of(inputs)
    order = torch.arange(columns)
    if activation_order:
        order = hessian.diagonal().argsort(descending=True, stable=True)
    factor = inverse_factor(hessian[order][:, order])
    grids = [grid_of(weight[:, start : start + group], arguments) for start in range(0, columns, group)]
    weight = weight.double()[:, order]
    codes = torch.empty(weight.shape, dtype=torch.int8)
    for i in range(columns):
        which = order[i] // group
        if not activation_order and i % group == 0:
            grids[which] = grid_of(weight[:, i : i + group], arguments)
        scale, zero = grids[which]
        code = (weight[:, i].float() / scale + zero).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        value = scale * (code - zero)
        error = (weight[:, i] - value) / factor[i, i]
        # Every later column at once: the blocks of the paper only put that off.
        weight[:, i + 1 :] -= error[:, None] * factor[i, i + 1 :]
        codes[:, order[i]] = code.to(torch.int8)
    scales, zeros = (torch.stack(part, 1) for part in zip(*grids))
    return {"codes": codes, "scales": scales, "zeros": zeros.to(torch.int8)}


def expert_inputs(model, tokenizer, texts):
    """Inputs of the layer's experts, token by token."""
    seen = []
    hook = model.model.layers[LAYER].mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    for text in texts:
        model(tokenizer(text, return_tensors="pt").input_ids)
    hook.remove()
    return torch.cat(seen)


def experts_of(path, texts):
    """Matrices with their inputs, by name."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    inputs = expert_inputs(model, AutoTokenizer.from_pretrained(path), texts)
    mlp = model.model.layers[LAYER].mlp
    chosen = (inputs @ mlp.gate.weight.T).topk(model.config.num_experts_per_tok).indices
    busiest = chosen.flatten().bincount(minlength=model.config.num_experts).topk(EXPERTS).indices
    for expert in busiest.tolist():
        own = inputs[(chosen == expert).any(1)]
        gate, up = mlp.experts.gate_up_proj[expert].chunk(2)
        yield f"{expert}.gate", gate, own
        yield f"{expert}.up", up, own
        hidden = torch.nn.functional.silu(own @ gate.T) * (own @ up.T)
        yield f"{expert}.down", mlp.experts.down_proj[expert], hidden
    # Fewer tokens than columns, an input that is always 0, and equal weights: what ties and dead inputs do.
    few = own[:100].clone()
    few[:, 5] = 0
    yield "few.gate", (gate * 16).round() / 16, few


SPARSITIES = {"half": 0.5, "most": 0.7, "2:4": (2, 4), "4:8": (4, 8)}
GRIDS = {
    "int4-g32": (4, 32, True),
    "int4-g32-asymmetric": (4, 32, False),
    "int4-g128": (4, 128, True),
    "int4-g16-asymmetric": (4, 16, False),
    "int8": (8, None, True),
    "int8-asymmetric": (8, None, False),
}

model, texts, out = sys.argv[1:]
# The matrices are small: more threads would wait for each other.
torch.set_num_threads(1)
lines = [json.loads(line)["text"] for line in open(texts).read().splitlines()[:TEXTS]]
tensors = {}
with torch.inference_mode():
    for name, weight, inputs in experts_of(model, lines):
        tensors[f"{name}.weight"], tensors[f"{name}.inputs"] = weight, inputs
        for sparsity_name, sparsity in SPARSITIES.items():
            norms = inputs.double().square().sum(0).sqrt().float()
            masks = {
                "magnitude": mask_of(weight.abs(), sparsity, whole=True),
                "wanda": mask_of(weight.abs() * norms, sparsity, whole=False),
            }
            for method, mask in masks.items():
                tensors[f"{name}.{method}.{sparsity_name}"] = weight.masked_fill(mask, 0)
            tensors[f"{name}.sparsegpt.{sparsity_name}"] = sparsegpt(weight, inputs, sparsity).float()
        for grid_name, grid in GRIDS.items():
            for activation_order in (False, True):
                kind = f"{name}.gptq.{grid_name}.{'activations' if activation_order else 'columns'}"
                for part, tensor in gptq(weight, inputs, *grid, activation_order).items():
                    tensors[f"{kind}.{part}"] = tensor
save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, f"{out}/layer.safetensors")
