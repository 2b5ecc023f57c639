"""Makes small random Qwen3-MoE checkpoints of many configurations, with the logits that transformers computes.

    make_models.py OUT

OUT/<case>/ receives the checkpoint as transformers saves it, and OUT/<case>.safetensors input_ids and logits.
"""
import sys

import torch
from safetensors.torch import save_file
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

torch.set_num_threads(1)

BASE = dict(
    vocab_size=96, hidden_size=48, intermediate_size=40, moe_intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, num_experts=6, num_experts_per_tok=2, norm_topk_prob=True, max_position_embeddings=64,
    initializer_range=0.2)
ROPE = dict(rope_theta=10000.0)
CASES = {
    "plain": {},
    "sliding-window": dict(use_sliding_window=True, sliding_window=5),
    "attention-bias": dict(attention_bias=True),
    "one-expert-a-token": dict(num_experts_per_tok=1),
    "not-normalised": dict(norm_topk_prob=False, num_experts_per_tok=3),
    "one-key-value-head": dict(num_key_value_heads=1, head_dim=10),
    "gelu": dict(hidden_act="gelu"),
    "gelu-tanh": dict(hidden_act="gelu_pytorch_tanh"),
    "tied-float32": dict(tie_word_embeddings=True, dtype=torch.float32),
    "float16-dense-layers": dict(dtype=torch.float16, mlp_only_layers=[1]),
    "sparse-step": dict(decoder_sparse_step=2),
    "linear-rope": dict(rope_parameters=dict(ROPE, rope_type="linear", factor=3.0)),
    "dynamic-rope": dict(rope_parameters=dict(ROPE, rope_type="dynamic", factor=2.0), max_position_embeddings=16),
    "yarn-rope": dict(rope_parameters=dict(ROPE, rope_type="yarn", factor=2.5, original_max_position_embeddings=24)),
    "yarn-rope-factors": dict(rope_parameters=dict(
        ROPE, rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=16, beta_slow=2, mscale=1.2,
        mscale_all_dim=0.7)),
    "llama3-rope": dict(rope_parameters=dict(
        ROPE, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)),
}


def main():
    out = sys.argv[1]
    for seed, (name, changes) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        changes = dict(changes)
        dtype = changes.pop("dtype", torch.bfloat16)
        model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**{**BASE, **changes}))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.2 * torch.randn_like(parameter))
        model.to(dtype).save_pretrained(f"{out}/{name}")
        model = Qwen3MoeForCausalLM.from_pretrained(f"{out}/{name}", dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.randint(0, BASE["vocab_size"], (2, 30))
        with torch.no_grad():
            logits = model(ids, use_cache=False).logits
        save_file({"input_ids": ids.int(), "logits": logits.contiguous()}, f"{out}/{name}.safetensors")


main()
