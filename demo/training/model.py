"""The demo models in PyTorch, for training: `families.py` tells their shapes."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from .experts import Experts


class Norm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(size)), epsilon

    def forward(self, x):
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, self.epsilon).to(x.dtype)


def rope_table(length, size, theta):
    """Cosines and sines `[length, size]` of the `size` numbers of a head that are rotated."""
    frequency = theta ** (-torch.arange(0, size, 2).float() / size)
    angle = torch.outer(torch.arange(length).float(), frequency)
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Rotates the first numbers of each head, as many as the table has."""
    x, rest = x.split([cos.shape[-1], x.shape[-1] - cos.shape[-1]], -1)
    half = x.shape[-1] // 2
    return torch.cat([x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin, rest], -1)


def normal(*shape, std=0.02):
    return nn.Parameter(torch.randn(*shape) * std)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, dim = config["hidden_size"], config["head_dim"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.q_proj = nn.Linear(hidden, self.heads * dim, False)
        self.k_proj = nn.Linear(hidden, self.kv_heads * dim, False)
        self.v_proj = nn.Linear(hidden, self.kv_heads * dim, False)
        self.o_proj = nn.Linear(self.heads * dim, hidden, False)
        self.q_norm, self.k_norm = Norm(dim, config["rms_norm_eps"]), Norm(dim, config["rms_norm_eps"])
        for linear in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.normal_(linear.weight, std=0.02)
        nn.init.normal_(self.o_proj.weight, std=0.02 * residual_scale(config))

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(b, t, self.heads, -1)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(b, t, self.kv_heads, -1)).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv_heads, -1).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        with torch.autocast("cpu", enabled=False):  # heads are so small that float32 is faster here
            o = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True, enable_gqa=True)
        return self.o_proj(o.transpose(1, 2).reshape(b, t, -1))

    def checkpoint(self):
        names = ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")
        return {f"{name}.weight": getattr(self, name).weight for name in names}


class Dense(nn.Module):
    """A gated block without experts, and the shared expert."""

    def __init__(self, config, width):
        super().__init__()
        self.w13 = normal(2 * width, config["hidden_size"])
        self.w2 = normal(config["hidden_size"], width, std=0.02 * residual_scale(config))

    def forward(self, x):
        gate, up = F.linear(x, self.w13).chunk(2, -1)
        return F.linear(F.silu(gate) * up, self.w2)

    def checkpoint(self):
        return gated(self.w13, self.w2)


class Moe(nn.Module):
    """Routed experts. `sigmoid`: DeepSeek-V3's router with its correction bias, and a shared expert beside them."""

    def __init__(self, config, dtype):
        super().__init__()
        hidden, width = config["hidden_size"], config["moe_intermediate_size"]
        self.sigmoid = "n_routed_experts" in config
        self.count = config["n_routed_experts" if self.sigmoid else "num_experts"]
        self.top, self.dtype = config["num_experts_per_tok"], dtype
        self.gate = nn.Linear(hidden, self.count, False)
        self.w13 = normal(self.count, 2 * width, hidden)
        self.w2 = normal(self.count, hidden, width, std=0.02 * residual_scale(config))
        nn.init.normal_(self.gate.weight, std=0.05)
        if self.sigmoid:
            self.scale = config["routed_scaling_factor"]
            self.register_buffer("bias", torch.zeros(self.count))
            self.shared = Dense(config, width * config["n_shared_experts"])

    def route(self, x):
        """Probabilities, and weights and numbers of each token's experts."""
        logits = F.linear(x, self.gate.weight)
        if not self.sigmoid:
            probability = F.softmax(logits, -1)
            weight, chosen = probability.topk(self.top, -1)
            return probability, weight / weight.sum(-1, keepdim=True), chosen
        score = logits.sigmoid()
        chosen = (score + self.bias).topk(self.top, -1).indices
        weight = score.gather(-1, chosen)
        return score / score.sum(-1, keepdim=True), self.scale * weight / weight.sum(-1, keepdim=True), chosen

    def forward(self, x):
        """The block's output, and the load-balancing loss (1 is an even load)."""
        flat = x.reshape(-1, x.shape[-1])
        with torch.autocast("cpu", enabled=False):
            probability, weight, chosen = self.route(flat.float())
            y = Experts.apply(flat.float(), weight, chosen, self.w13, self.w2, self.dtype).view(x.shape)
        self.load = torch.bincount(chosen.flatten(), minlength=self.count) / chosen.numel()
        balance = self.count * (self.load * probability.mean(0)).sum()
        return (y + self.shared(x) if self.sigmoid else y), balance

    def correct(self, rate):
        """Moves the bias of experts with few tokens up and of those with many down (Wang et al. 2024, DeepSeek-V3)."""
        if self.sigmoid:
            self.bias += rate * (1 / self.count - self.load).sign()

    def checkpoint(self):
        out = {"gate.weight": self.gate.weight}
        for e in range(self.count):
            out.update({f"experts.{e}.{name}": weight for name, weight in gated(self.w13[e], self.w2[e]).items()})
        if self.sigmoid:
            out["gate.e_score_correction_bias"] = self.bias
            out.update({f"shared_experts.{name}": weight for name, weight in self.shared.checkpoint().items()})
        return out


class Layer(nn.Module):
    def __init__(self, config, index, dtype):
        super().__init__()
        norms = [Norm(config["hidden_size"], config["rms_norm_eps"]) for _ in range(2)]
        self.input_layernorm, self.post_attention_layernorm = norms
        self.self_attn = Attention(config)
        is_dense = index < config.get("first_k_dense_replace", 0)
        self.mlp = Dense(config, config["intermediate_size"]) if is_dense else Moe(config, dtype)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        y = self.mlp(self.post_attention_layernorm(x))
        y, balance = y if isinstance(self.mlp, Moe) else (y, None)
        return x + y, balance


class Model(nn.Module):
    def __init__(self, config, dtype):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(config, i, dtype) for i in range(config["num_hidden_layers"]))
        self.norm = Norm(config["hidden_size"], config["rms_norm_eps"])

    def forward(self, ids):
        """Logits of `ids` [rows, length], and the mean load-balancing loss of the layers with experts."""
        rotated = int(self.config["head_dim"] * self.config.get("partial_rotary_factor", 1))
        cos, sin = rope_table(ids.shape[1], rotated, self.config["rope_theta"])
        x, balances = self.embed_tokens(ids), []
        for layer in self.layers:
            x, balance = layer(x, cos, sin)
            balances += [] if balance is None else [balance]
        return F.linear(self.norm(x), self.embed_tokens.weight), sum(balances) / len(balances)

    def blocks(self):
        return [layer.mlp for layer in self.layers if isinstance(layer.mlp, Moe)]

    def checkpoint(self):
        """All weights under the names of a real checkpoint, in bfloat16 but for correction biases."""
        out = {"model.embed_tokens.weight": self.embed_tokens.weight, "model.norm.weight": self.norm.weight}
        for index, layer in enumerate(self.layers):
            prefix = f"model.layers.{index}."
            for name in ("input_layernorm", "post_attention_layernorm"):
                out[f"{prefix}{name}.weight"] = getattr(layer, name).weight
            for part in ("self_attn", "mlp"):
                out.update({f"{prefix}{part}.{n}": weight for n, weight in getattr(layer, part).checkpoint().items()})
        return {name: stored(name, weight) for name, weight in out.items()}


def stored(name, tensor):
    dtype = torch.float32 if name.endswith("e_score_correction_bias") else torch.bfloat16
    return tensor.detach().to(dtype).contiguous().clone()


def gated(w13, w2):
    gate, up = w13.chunk(2)
    return {"gate_proj.weight": gate, "up_proj.weight": up, "down_proj.weight": w2}


def residual_scale(config):
    return 1 / math.sqrt(2 * config["num_hidden_layers"])
