"""Layers for multi-token prediction, as transformers' MtpModel runs them.

    predictions.py make OUT        makes OUT/<family>, small random checkpoints that have such a layer
    predictions.py run FOLDER ...  loads each, and writes input_ids and the layer's output for them (float32) to
                                   FOLDER.safetensors
"""
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.cache_utils import DynamicCache
from transformers.modeling_layers import MtpModel

torch.set_num_threads(1)

LAYERS = 2
COMMON = dict(vocab_size=80, hidden_size=48, intermediate_size=40, num_hidden_layers=LAYERS, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2, pad_token_id=0, num_experts_per_tok=3,
              moe_intermediate_size=24, num_nextn_predict_layers=1)
CORRECTED = dict(n_routed_experts=8, n_group=2, topk_group=1, n_shared_experts=1, first_k_dense_replace=1)
FAMILIES = {
    "deepseek_v3": dict(CORRECTED, num_key_value_heads=4, kv_lora_rank=20, q_lora_rank=12, qk_nope_head_dim=10, qk_rope_head_dim=6,
                        v_head_dim=14),
    "glm4_moe": dict(CORRECTED, head_dim=12, use_qk_norm=True),
    "mellum": dict(num_experts=8, head_dim=12, sliding_window=5, layer_types=["full_attention", "sliding_attention"]),
}
# Names of what is no part of the block: behind the last layer, and under `mtp.` (Mellum, Qwen3-Next).
FOLLOWING = {"enorm": "enorm", "hnorm": "hnorm", "eh_proj": "eh_proj", "post_norm": "shared_head.norm"}
SEPARATE = {"enorm": "pre_fc_norm_embedding", "hnorm": "pre_fc_norm_hidden", "eh_proj": "fc", "post_norm": "norm"}


def make(out):
    for seed, (family, options) in enumerate(FAMILIES.items()):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(family, **{**COMMON, **options})
        model = AutoModelForCausalLM.from_config(config)
        prediction = MtpModel(model, 1)
        for part in [model, prediction]:
            with torch.no_grad():
                for name, parameter in list(part.named_parameters()) + list(part.named_buffers()):
                    if not parameter.is_floating_point() or "inv_freq" in name:
                        continue
                    if parameter.ndim <= 1:
                        parameter.add_(0.2 * torch.randn_like(parameter))
                    elif "layers" in name:
                        parameter.normal_(0, 0.2)
        path = f"{out}/{family}"
        model.save_pretrained(path)
        file = f"{path}/model.safetensors"
        save_file({**load_file(file), **hub_tensors(family, prediction)}, file, metadata={"format": "pt"})


def hub_tensors(family, prediction):
    """The layer's tensors under the names that the hub's checkpoints have."""
    separate = family == "mellum"
    tensors = {}
    for name, tensor in prediction.state_dict().items():
        if not name.startswith("layers.0."):
            continue
        part = name.removeprefix("layers.0.")
        if not part.startswith("mtp_block."):
            module = part.removesuffix(".weight")
            own = f"mtp.{SEPARATE[module]}" if separate else f"model.layers.{LAYERS}.{FOLLOWING[module]}"
            tensors[f"{own}.weight"] = tensor.clone()
            continue
        block = part.removeprefix("mtp_block.")
        prefix = "mtp.layers.0." if separate else f"model.layers.{LAYERS}."
        if block == "mlp.experts.gate_up_proj":
            for expert, both in enumerate(tensor):
                for kind, matrix in zip(["gate_proj", "up_proj"], both.chunk(2)):
                    tensors[f"{prefix}mlp.experts.{expert}.{kind}.weight"] = matrix.clone()
        elif block == "mlp.experts.down_proj":
            for expert, matrix in enumerate(tensor):
                tensors[f"{prefix}mlp.experts.{expert}.down_proj.weight"] = matrix.clone()
        else:
            tensors[f"{prefix}{block}"] = tensor.clone()
    return tensors


@torch.no_grad()
def run(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    # The class names the layers of the published models, which have more.
    if model.config.model_type != "mellum":
        model._keys_to_ignore_on_load_unexpected = [rf"model\.layers\.{LAYERS}\."]
    prediction = MtpModel.from_pretrained(model).eval()
    torch.manual_seed(7)
    ids = torch.randint(1, 80, (1, 21))
    hidden = model.model(ids, use_cache=False).last_hidden_state
    positions = torch.arange(1, ids.shape[1])[None]
    cache = DynamicCache(config=prediction.config)
    output = prediction.forward_layer(0, hidden[:, :-1], positions, cache, input_ids=ids[:, 1:])
    save_file({"input_ids": ids.int(), "output": output.contiguous()}, f"{folder}.safetensors")


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    for path in sys.argv[2:]:
        run(path)
