"""Seconds of one layer of REAM, and of REAP's observer, as the published codes compute them; see layer.ts.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000 python official_layer.py < {model, tokens, layers, kept, group, threads, rounds, method, dtype}

The work of github.com/SamsungSAILMontreal/ream in PyTorch, in the given dtype where it uses bfloat16: an ordinary forward pass during
which all experts run on all tokens, saliency, similarity, PCA of the neurons, costs, assignment and averages, then a forward pass of the
merged layer. Where that code does something for all experts that it needs for a few (activations in float32), this does it for those few.
Memory that is freed is kept by the allocator, and a first round, which is not told, touches it. Prints JSON
[{seconds, cpu}], each {forward, experts, saliency, weights, pca, similarity, merge, handOn}, one for each round.
"""

import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from transformers import AutoConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeDecoderLayer, Qwen3MoeRotaryEmbedding

SAMPLES, COMPONENTS, BATCH = 32768, 64, 8


class Clock:
    """Adds the time since the last call to a part: that which passed, and that of the processor in all threads."""

    def __init__(self):
        self.parts, self.last = {"seconds": {}, "cpu": {}}, (time.perf_counter(), time.process_time())

    def __call__(self, part):
        now = (time.perf_counter(), time.process_time())
        for times, before, after in zip(self.parts.values(), self.last, now):
            times[part] = times.get(part, 0.0) + after - before
        self.last = now


def load_layer(folder, index, dtype):
    config = AutoConfig.from_pretrained(folder)
    config._attn_implementation = "sdpa"
    config._experts_implementation = "grouped_mm"
    torch.set_default_dtype(dtype)
    layer = Qwen3MoeDecoderLayer(config, index)
    torch.set_default_dtype(torch.float32)
    stored = load_file(os.path.join(folder, f"model-{index}.safetensors"))
    own = {name.removeprefix(f"model.layers.{index}."): value for name, value in stored.items()}
    experts = range(config.num_experts)
    name = "mlp.experts.{}.{}_proj.weight".format
    gate_up = [torch.cat([own.pop(name(e, "gate")), own.pop(name(e, "up"))]) for e in experts]
    own["mlp.experts.gate_up_proj"] = torch.stack(gate_up)
    own["mlp.experts.down_proj"] = torch.stack([own.pop(name(e, "down")) for e in experts])
    layer.load_state_dict(own)
    head = load_file(os.path.join(folder, "model-head.safetensors"))
    return config, layer.eval(), head["model.embed_tokens.weight"].to(dtype)


def forward(layer, rotary, hidden):
    position_ids = torch.arange(hidden.shape[1])[None]
    out = layer(hidden, position_embeddings=rotary(hidden, position_ids), attention_mask=None, position_ids=position_ids)
    return out[0] if isinstance(out, tuple) else out


def unit(x):
    return x / (x.norm(dim=-1, keepdim=True) + 1e-8)


def run_all_experts(experts, scores, x, samples, order):
    """Gated outputs [experts, tokens, hidden] and activations [experts, samples, width]."""
    count, width = experts.gate_up_proj.shape[0], experts.down_proj.shape[2]
    outputs = torch.empty(count, *x.shape, dtype=x.dtype)
    activations = torch.empty(count, samples, width, dtype=x.dtype)
    for e in range(count):
        gate, up = F.linear(x, experts.gate_up_proj[e]).chunk(2, dim=-1)
        activation = F.silu(gate) * up
        outputs[e] = F.linear(activation, experts.down_proj[e]) * scores[:, e, None]
        chosen = torch.randperm(len(x), generator=order)[:samples]
        activations[e] = activation[chosen]
    return outputs, activations


def saliency_of(scores, outputs, top_k):
    gate, selected = torch.topk(scores, top_k, dim=-1)
    saliency = torch.zeros(len(outputs))
    for e in range(len(outputs)):
        token, place = torch.where(selected == e)
        if len(token) > 0:
            saliency[e] = (outputs[e][token].norm(dim=-1) * gate[token, place]).mean()
    return saliency


def reduced_neurons(experts):
    """Unit neurons [gate | up | down] of all experts on 64 principal axes: [experts, width, 64]."""
    gate, up = experts.gate_up_proj.float().chunk(2, dim=1)
    neurons = unit(torch.cat([gate, up, experts.down_proj.float().transpose(1, 2)], dim=2))
    return neurons


def principal(neurons):
    flat = neurons.flatten(0, 1)
    centred = flat - flat.mean(0)
    torch.manual_seed(0)
    _, s, v = torch.pca_lowrank(centred, q=COMPONENTS)
    return (centred @ (v * s)).unflatten(0, neurons.shape[:2])


def groups_of(saliency, means, logits, kept, size):
    columns = unit(logits.float().T)
    distance = torch.cdist(columns, columns)
    gate = 1 - distance / distance.max()
    output = torch.stack([(F.cosine_similarity(means[i][None], means, dim=-1) + 1) / 2 for i in range(len(means))])
    near = (gate + output) / 2
    ranked = saliency.argsort(descending=True).tolist()
    free, groups = set(ranked[kept:]), []
    for centroid in ranked[:kept]:
        order = near[centroid].argsort(descending=True).tolist()
        members = [e for e in order if e in free][: size - 1]
        free -= set(members)
        groups.append([centroid, *sorted(members)])
    return groups


def merge(experts, groups, saliency, neurons, activations):
    gate_up, down = experts.gate_up_proj.data, experts.down_proj.data
    width = down.shape[2]
    features = unit(neurons)
    for centroid, *members in groups:
        if not members:
            continue
        weights = saliency[[centroid, *members]]
        weights = weights / weights.sum()
        own = unit(activations[centroid].T.float())
        sums = [(part[centroid].float() * weights[0]).to(part.dtype) for part in (gate_up, down)]
        for member, weight in zip(members, weights[1:]):
            cost = torch.cdist(own, unit(activations[member].T.float())) + torch.cdist(features[centroid], features[member])
            _, order = linear_sum_assignment(cost.numpy())
            order = torch.from_numpy(order)
            aligned = (gate_up[member][torch.cat([order, order + width])], down[member][:, order])
            sums = [(sum.float() + weight * part.float()).to(sum.dtype) for sum, part in zip(sums, aligned)]
        gate_up[centroid], down[centroid] = sums
    keep = torch.tensor(sorted(group[0] for group in groups))
    return gate_up[keep], down[keep], keep


def ream_layer(asked, config, layer, rotary, hidden):
    """Replaces the layer's experts by the merged ones."""
    clock, order = Clock(), torch.Generator().manual_seed(0)
    batches = max(1, len(hidden) // BATCH)
    saliency, means, logits, activations = 0, 0, [], []
    seen = {}
    handle = layer.mlp.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    for start in range(0, len(hidden), BATCH):
        forward(layer, rotary, hidden[start : start + BATCH])
        clock("forward")
        x = seen["x"].flatten(0, 1)
        logits.append(F.linear(x, layer.mlp.gate.weight))
        scores = logits[-1].softmax(-1, dtype=torch.float)
        samples = min(len(x), max(1, SAMPLES // batches))
        outputs, sampled = run_all_experts(layer.mlp.experts, scores, x, samples, order)
        activations.append(sampled)
        clock("experts")
        means = means + outputs.mean(1).float() / batches
        saliency = saliency + saliency_of(scores, outputs, config.num_experts_per_tok) / batches
        del outputs
        clock("saliency")
    handle.remove()
    if asked["method"] == "reap":
        return clock.parts
    activations = activations[0] if len(activations) == 1 else torch.cat(activations, 1)
    neurons = reduced_neurons(layer.mlp.experts)
    clock("weights")
    reduced = principal(neurons)
    del neurons
    clock("pca")
    groups = groups_of(saliency, means, torch.cat(logits), asked["kept"], asked["group"])
    clock("similarity")
    gate_up, down, keep = merge(layer.mlp.experts, groups, saliency, reduced, activations)
    experts, gate = layer.mlp.experts, layer.mlp.gate
    experts.gate_up_proj.data, experts.down_proj.data, experts.num_experts = gate_up, down, len(keep)
    gate.weight.data, gate.num_experts = gate.weight.data[keep], len(keep)
    del activations
    clock("merge")
    for start in range(0, len(hidden), BATCH):
        forward(layer, rotary, hidden[start : start + BATCH])
    clock("handOn")
    return clock.parts


def forward_layers(layers, rotary, hidden):
    """An ordinary forward pass, as a model runs it."""
    clock = Clock()
    for start in range(0, len(hidden), BATCH):
        batch = hidden[start : start + BATCH]
        for layer in layers:
            batch = forward(layer, rotary, batch)
    clock("forward")
    return clock.parts


def reset(layer, original):
    experts, gate = layer.mlp.experts, layer.mlp.gate
    experts.gate_up_proj.data = original["experts.gate_up_proj"].clone()
    experts.down_proj.data = original["experts.down_proj"].clone()
    gate.weight.data = original["gate.weight"]
    experts.num_experts = gate.num_experts = len(gate.weight.data)


asked = json.load(sys.stdin)
torch.set_num_threads(asked["threads"])
loaded = [load_layer(asked["model"], index, getattr(torch, asked["dtype"])) for index in asked["layers"]]
config, layer, embedding = loaded[0]
rotary = Qwen3MoeRotaryEmbedding(config)
hidden = F.embedding(load_file(asked["tokens"])["input_ids"].long(), embedding)
merges = asked["method"] == "ream"
original = {name: value.clone() for name, value in layer.mlp.state_dict().items()} if merges else {}
results = []
with torch.inference_mode():
    for _ in range(asked["rounds"] + 1):
        if asked["method"] == "forward":
            results.append(forward_layers([layer for _, layer, _ in loaded], rotary, hidden))
        else:
            results.append(ream_layer(asked, config, layer, rotary, hidden))
        if merges:
            reset(layer, original)
print(json.dumps(results[1:]))
