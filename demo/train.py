"""Trains the demo model: a small Qwen3-MoE on the demo world, saved as a Hugging Face checkpoint.

    python train.py WORLD OUT --steps 2250 --balance 0.005

WORLD is what build-world wrote; OUT receives config.json, model.safetensors (bfloat16), tokenizer.json and
tokenizer_config.json in the layout of real Qwen3-MoE checkpoints. The schedule counts steps, not time, so a run that
was stopped goes on with --resume to the same end. Needs torch, numpy, tokenizers and safetensors.
Nearly twice as fast with an allocator that keeps freed memory: LD_PRELOAD=libtcmalloc_minimal.so.4.
"""

import argparse
import json
import math
import os
import time

# A product of every size that occurs is compiled once; the default capacity is too small to keep them all.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100000")
# Threads that wait must sleep: spinning ones stop all progress when other programs need the cores too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = dict(
    architectures=["Qwen3MoeForCausalLM"],
    model_type="qwen3_moe",
    torch_dtype="bfloat16",
    vocab_size=1024,
    hidden_size=192,
    num_hidden_layers=4,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=32,
    intermediate_size=384,
    moe_intermediate_size=48,
    num_experts=64,
    num_experts_per_tok=8,
    norm_topk_prob=True,
    decoder_sparse_step=1,
    mlp_only_layers=[],
    hidden_act="silu",
    rms_norm_eps=1e-6,
    rope_theta=10000.0,
    max_position_embeddings=512,
    attention_bias=False,
    attention_dropout=0.0,
    tie_word_embeddings=True,
    use_sliding_window=False,
    sliding_window=None,
    router_aux_loss_coef=0.001,
    output_router_logits=False,
    initializer_range=0.02,
    use_cache=True,
    bos_token_id=None,
    eos_token_id=1,
    pad_token_id=0,
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Experts receive their tokens in multiples of this, so that few sizes of products occur and each is compiled once.
TOKEN_MULTIPLE = 64


def build_tokenizer(texts):
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
        vocab_size=CONFIG["vocab_size"],
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def prepare(world, out):
    """Tokens of all training documents, and the tokenizer in `out`. Kept in the world's folder for the next run."""
    from tokenizers import Tokenizer

    tokens_file, tokenizer_file = f"{world}/tokens.npy", f"{world}/tokenizer.json"
    if not os.path.exists(tokens_file):
        with open(f"{world}/train.jsonl") as lines:
            documents = [json.loads(line)["text"] for line in lines]
        tokenizer = build_tokenizer(documents[:60000])
        tokenizer.save(tokenizer_file)
        ids = []
        for start in range(0, len(documents), 10000):
            for encoding in tokenizer.encode_batch(documents[start : start + 10000]):
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
    write_json(tokenizer_config, f"{out}/tokenizer_config.json")
    return torch.from_numpy(np.load(tokens_file))


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, CONFIG["rms_norm_eps"]).to(x.dtype)


def rope_table(length, dim):
    frequency = CONFIG["rope_theta"] ** (-torch.arange(0, dim, 2).float() / dim)
    angle = torch.outer(torch.arange(length).float(), frequency)
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Experts(torch.autograd.Function):
    """Weighted sum of each token's experts. Products in bfloat16, weights and sums in float32.

    Written by hand because the general way (one small graph for each expert) spends most of its time on compiling
    products of ever new sizes and on copying weights. Pairs of token and expert are laid out expert by expert in
    "slots"; each expert's slots are rounded up with pairs of weight 0, which change neither output nor gradients.
    """

    @staticmethod
    def forward(ctx, x, weight, chosen, w13, w2):
        tokens, top = chosen.shape
        experts = w13.shape[0]
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=experts)
        rounded = (counts + TOKEN_MULTIPLE - 1) // TOKEN_MULTIPLE * TOKEN_MULTIPLE
        shift = (rounded.cumsum(0) - rounded) - (counts.cumsum(0) - counts)
        filled = torch.arange(tokens * top) + shift.repeat_interleave(counts)
        ends = rounded.cumsum(0).tolist()
        spans = [slice(begin, end) for begin, end in zip([0] + ends, ends)]

        token_of_slot = torch.zeros(ends[-1], dtype=torch.long)
        token_of_slot[filled] = order // top
        weight_of_slot = torch.zeros(ends[-1])
        weight_of_slot[filled] = weight.flatten()[order]
        slot_of_pair = torch.empty(tokens * top, dtype=torch.long)
        slot_of_pair[order] = filled
        slot_of_pair = slot_of_pair.view(tokens, top)

        w13, w2 = w13.to(torch.bfloat16), w2.to(torch.bfloat16)
        inputs = x.to(torch.bfloat16)[token_of_slot]
        gate_up = torch.empty(ends[-1], w13.shape[1], dtype=torch.bfloat16)
        for e, span in enumerate(spans):
            torch.mm(inputs[span], w13[e].t(), out=gate_up[span])
        gate, up = gate_up.chunk(2, -1)
        hidden = F.silu(gate) * up
        outputs = torch.empty_like(inputs)
        for e, span in enumerate(spans):
            torch.mm(hidden[span], w2[e].t(), out=outputs[span])
        ctx.spans = spans
        ctx.save_for_backward(inputs, gate_up, hidden, weight_of_slot, token_of_slot, slot_of_pair, w13, w2)
        return F.embedding_bag(slot_of_pair, outputs.float(), mode="sum", per_sample_weights=weight)

    @staticmethod
    def backward(ctx, grad):
        inputs, gate_up, hidden, weight_of_slot, token_of_slot, slot_of_pair, w13, w2 = ctx.saved_tensors
        weights = weight_of_slot.to(torch.bfloat16).unsqueeze(-1)
        grad_slots = grad.to(torch.bfloat16)[token_of_slot]
        weighted_hidden = hidden * weights
        grad_hidden, grad_w2, grad_w13 = torch.empty_like(hidden), torch.empty_like(w2), torch.empty_like(w13)
        for e, span in enumerate(ctx.spans):
            torch.mm(grad_slots[span], w2[e], out=grad_hidden[span])
            torch.mm(grad_slots[span].t(), weighted_hidden[span], out=grad_w2[e])
        # <grad, E(x)> = <grad W2, h>, which needs no expert output.
        grad_weight = (grad_hidden * hidden).sum(-1, dtype=torch.float32)[slot_of_pair]
        grad_hidden *= weights
        gate, up = gate_up.chunk(2, -1)
        grad_gate_up = torch.empty_like(gate_up)
        grad_gate, grad_up = grad_gate_up.chunk(2, -1)
        torch.mul(grad_hidden, F.silu(gate), out=grad_up)
        grad_gate.copy_(torch.ops.aten.silu_backward(grad_hidden * up, gate))
        grad_inputs = torch.empty_like(inputs)
        for e, span in enumerate(ctx.spans):
            torch.mm(grad_gate_up[span], w13[e], out=grad_inputs[span])
            torch.mm(grad_gate_up[span].t(), inputs[span], out=grad_w13[e])
        grad_x = F.embedding_bag(slot_of_pair, grad_inputs.float(), mode="sum")
        return grad_x, grad_weight, None, grad_w13.float(), grad_w2.float()


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        hidden, dim = CONFIG["hidden_size"], CONFIG["head_dim"]
        self.heads, self.kv_heads = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]
        experts, width = CONFIG["num_experts"], CONFIG["moe_intermediate_size"]
        residual_scale = 1 / math.sqrt(2 * CONFIG["num_hidden_layers"])
        self.input_layernorm, self.post_attention_layernorm = Norm(hidden), Norm(hidden)
        self.q_proj = nn.Linear(hidden, self.heads * dim, False)
        self.k_proj = nn.Linear(hidden, self.kv_heads * dim, False)
        self.v_proj = nn.Linear(hidden, self.kv_heads * dim, False)
        self.o_proj, self.q_norm, self.k_norm = nn.Linear(self.heads * dim, hidden, False), Norm(dim), Norm(dim)
        self.gate = nn.Linear(hidden, experts, False)
        self.w13 = nn.Parameter(torch.randn(experts, 2 * width, hidden) * 0.02)
        self.w2 = nn.Parameter(torch.randn(experts, hidden, width) * 0.02 * residual_scale)
        for linear in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.normal_(linear.weight, std=0.02)
        nn.init.normal_(self.gate.weight, std=0.05)
        nn.init.normal_(self.o_proj.weight, std=0.02 * residual_scale)

    def attention(self, x, cos, sin):
        b, t, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(b, t, self.heads, -1)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(b, t, self.kv_heads, -1)).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv_heads, -1).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        with torch.autocast("cpu", enabled=False):  # heads are so small that float32 is faster here
            o = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True, enable_gqa=True)
        return self.o_proj(o.transpose(1, 2).reshape(b, t, -1))

    def experts(self, x):
        flat = x.reshape(-1, x.shape[-1])
        with torch.autocast("cpu", enabled=False):
            probability = F.softmax(F.linear(flat.float(), self.gate.weight), -1)
            weight, chosen = probability.topk(CONFIG["num_experts_per_tok"], -1)
            weight = weight / weight.sum(-1, keepdim=True)
            y = Experts.apply(flat.float(), weight, chosen, self.w13, self.w2)
        load = torch.bincount(chosen.flatten(), minlength=CONFIG["num_experts"]) / chosen.numel()
        balance = CONFIG["num_experts"] * (load * probability.mean(0)).sum()
        return y.view(x.shape), balance

    def forward(self, x, cos, sin):
        x = x + self.attention(self.input_layernorm(x), cos, sin)
        y, balance = self.experts(self.post_attention_layernorm(x))
        return x + y, balance


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], CONFIG["hidden_size"])
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = Norm(CONFIG["hidden_size"])

    def forward(self, ids):
        cos, sin = rope_table(ids.shape[1], CONFIG["head_dim"])
        x, balance = self.embed_tokens(ids), 0
        for layer in self.layers:
            x, layer_balance = layer(x, cos, sin)
            balance = balance + layer_balance
        return F.linear(self.norm(x), self.embed_tokens.weight), balance / len(self.layers)

    def checkpoint(self):
        """All weights under the names of a real Qwen3-MoE checkpoint."""

        def stored(tensor):
            return tensor.detach().to(torch.bfloat16).contiguous().clone()

        out = {
            "model.embed_tokens.weight": stored(self.embed_tokens.weight),
            "model.norm.weight": stored(self.norm.weight),
        }
        for index, layer in enumerate(self.layers):
            prefix = f"model.layers.{index}."
            for name in ("input_layernorm", "post_attention_layernorm"):
                out[f"{prefix}{name}.weight"] = stored(getattr(layer, name).weight)
            for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"):
                out[f"{prefix}self_attn.{name}.weight"] = stored(getattr(layer, name).weight)
            out[f"{prefix}mlp.gate.weight"] = stored(layer.gate.weight)
            for e in range(CONFIG["num_experts"]):
                gate, up = layer.w13[e].chunk(2)
                for name, weight in (("gate_proj", gate), ("up_proj", up), ("down_proj", layer.w2[e])):
                    out[f"{prefix}mlp.experts.{e}.{name}.weight"] = stored(weight)
        return out


def orthogonalise(gradient, steps=5):
    """Newton-Schulz orthogonalisation of each matrix of a stack (Muon, Jordan 2024)."""
    x = gradient / (gradient.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    flip = x.shape[-2] > x.shape[-1]
    if flip:
        x = x.mT
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if flip else x


def write_json(value, path):
    with open(path, "w") as file:
        json.dump(value, file, indent=2)


def save(model, out):
    from safetensors.torch import save_file

    save_file(model.checkpoint(), f"{out}/model.safetensors", metadata={"format": "pt"})
    write_json(CONFIG, f"{out}/config.json")
    write_json(dict(eos_token_id=1, pad_token_id=0), f"{out}/generation_config.json")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("world")
    parser.add_argument("out")
    parser.add_argument("--steps", type=int, default=2250)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--balance", type=float, default=0.005)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from OUT/state.pt, where there is one")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)

    data = prepare(args.world, args.out)
    model = Model()
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(data) / 1e6:.1f} M tokens, {parameters / 1e6:.2f} M parameters", flush=True)
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        by_muon = parameter.ndim >= 2 and "embed" not in name and "gate" not in name
        (matrices if by_muon else others).append(parameter)
    adam = torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.95), weight_decay=0.0)
    momentum = [torch.zeros_like(p) for p in matrices]
    step, average, seconds = 0, None, 0.0
    state_file = f"{args.out}/state.pt"
    if args.resume and os.path.exists(state_file):
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        momentum, step, average, seconds = state["momentum"], state["step"], state["average"], state["seconds"]
        if state["settings"] != settings(args):
            raise SystemExit(f"{state_file} was written with other settings: {state['settings']}")

    size = args.batch * args.length
    chunks = (len(data) - 1) // size
    while step < args.steps:
        begin = time.time()
        done = step / args.steps
        rate = min(1, (step + 1) / 50) * (1 if done < 0.4 else max(0.02, (1 - done) / 0.6))
        position = step % chunks * size
        chunk = data[position : position + size + 1].long()
        with torch.autocast("cpu", torch.bfloat16):
            logits, balance = model(chunk[:-1].view(args.batch, args.length))
        loss = F.cross_entropy(logits.float().view(-1, logits.shape[-1]), chunk[1:])
        (loss + args.balance * balance).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for group in adam.param_groups:
            group["lr"] = args.lr * rate
        adam.step()
        adam.zero_grad(set_to_none=True)
        with torch.no_grad():
            for parameter, m in zip(matrices, momentum):
                m.lerp_(parameter.grad, 0.05)
                # Gate and up of an expert are orthogonalised together.
                update = orthogonalise(parameter.grad.lerp(m, 0.95))
                scale = max(1, parameter.shape[-2] / parameter.shape[-1]) ** 0.5
                parameter.mul_(1 - 0.01 * args.muon_lr * rate).add_(update, alpha=-args.muon_lr * rate * scale)
                parameter.grad = None
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        seconds += time.time() - begin
        step += 1
        if step % 50 == 0 or step == args.steps:
            speed = step * size / seconds
            print(f"step {step} loss {average:.4f} balance {balance.item():.3f} {speed:.0f} tok/s", flush=True)
            save(model, args.out)
            state = dict(
                model=model.state_dict(),
                adam=adam.state_dict(),
                momentum=momentum,
                step=step,
                average=average,
                seconds=seconds,
                settings=settings(args),
            )
            torch.save(state, f"{state_file}.new")
            os.replace(f"{state_file}.new", state_file)


def settings(args):
    """What may not change when a run goes on."""
    return {name: getattr(args, name) for name in ("steps", "batch", "length", "lr", "muon_lr", "balance")}


if __name__ == "__main__":
    main()
