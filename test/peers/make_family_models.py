"""Makes small random checkpoints of every family with other options than the goldens have, with transformers' logits.

    make_family_models.py OUT [FAMILY[.CASE] ...]

OUT/<family>.<case>/ receives the checkpoint as transformers saves it, and OUT/<family>.<case>.safetensors input_ids and logits.
Without names, all are made.
"""
import sys
import traceback

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from auto_model import auto_class, text_logits

torch.set_num_threads(1)

COMMON = dict(vocab_size=80, hidden_size=48, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2, pad_token_id=0)
LATENT = dict(num_key_value_heads=4, kv_lora_rank=20, q_lora_rank=12, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=14,
              moe_intermediate_size=24, n_routed_experts=8, num_experts_per_tok=3, n_group=1, topk_group=1,
              n_shared_experts=1, first_k_dense_replace=1)
CORRECTED = dict(moe_intermediate_size=24, n_routed_experts=8, num_experts_per_tok=3, n_group=1, topk_group=1,
                 n_shared_experts=1, first_k_dense_replace=1, head_dim=12)
LOCAL = dict(num_local_experts=6, num_experts_per_tok=2, head_dim=12)
QWEN = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=20)
HYBRID = dict(QWEN, head_dim=16, linear_conv_kernel_dim=3, linear_key_head_dim=8, linear_value_head_dim=12,
              linear_num_key_heads=2, linear_num_value_heads=6)
NORMED = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, head_dim=12)
VISION = dict(depth=1, hidden_size=16, num_heads=2, intermediate_size=8, out_hidden_size=48, patch_size=4, image_size=8)
YARN = dict(rope_type="yarn", rope_theta=5000.0, factor=4.0, original_max_position_embeddings=16)

FAMILIES = {
    "qwen2_moe": (QWEN, {
        "no-bias": dict(qkv_bias=False, norm_topk_prob=True),
        "windows": dict(use_sliding_window=True, sliding_window=5, max_window_layers=2),
        "sparse-step": dict(decoder_sparse_step=2, num_experts_per_tok=3),
    }),
    "mixtral": (LOCAL, {"no-window": dict(sliding_window=None), "window": dict(sliding_window=7, num_experts_per_tok=1)}),
    "olmoe": (dict(num_experts=6, num_experts_per_tok=2, num_key_value_heads=4), {
        "clipped": dict(clip_qkv=0.4, norm_topk_prob=True),
        "grouped-bias": dict(num_key_value_heads=2, attention_bias=True),
    }),
    "flex_olmo": (dict(num_experts=6, num_experts_per_tok=2), {
        "normalised": dict(norm_topk_prob=True), "bias": dict(attention_bias=True, num_key_value_heads=1),
    }),
    "deepseek_v2": (LATENT, {
        "query-rank": dict(topk_method="greedy", routed_scaling_factor=1.7),
        "groups": dict(topk_method="group_limited_greedy", n_group=4, topk_group=2, q_lora_rank=None, routed_scaling_factor=2.0),
        "no-shared-bias": dict(attention_bias=True, n_shared_experts=3, first_k_dense_replace=0),
    }),
    "deepseek_v3": (LATENT, {
        "groups": dict(n_group=2, topk_group=1, routed_scaling_factor=1.3),
        "halves": dict(rope_interleave=False, q_lora_rank=None, norm_topk_prob=False),
        "yarn-bias": dict(attention_bias=True, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=0.8)),
    }),
    "glm4_moe": (CORRECTED, {
        "plain": dict(use_qk_norm=False, attention_bias=False),
        "groups": dict(use_qk_norm=True, attention_bias=True, n_group=2, topk_group=1,
                       rope_parameters=dict(rope_type="default", rope_theta=3000.0, partial_rotary_factor=0.34)),
    }),
    "glm4_moe_lite": (LATENT, {
        "sparse-first": dict(mlp_layer_types=["sparse", "dense", "sparse"]),
        "halves": dict(rope_interleave=False, attention_bias=True),
    }),
    "dots1": (CORRECTED, {
        "windows": dict(sliding_window=6, layer_types=["full_attention", "sliding_attention", "sliding_attention"]),
        "bias": dict(attention_bias=True, norm_topk_prob=False, routed_scaling_factor=0.7),
    }),
    "qwen3_next": (HYBRID, {
        "two-kinds": dict(layer_types=["full_attention", "linear_attention", "full_attention"]),
        "dense-layer": dict(mlp_only_layers=[1], norm_topk_prob=False, full_attention_interval=2, attention_bias=True),
    }),
    "qwen3_5_moe_text": (HYBRID, {
        "text": dict(layer_types=["linear_attention", "full_attention", "linear_attention"]),
        "wide-values": dict(linear_value_head_dim=20, linear_num_value_heads=2),
    }),
    "gpt_oss": (dict(LOCAL, intermediate_size=32), {
        "plain-rope": dict(rope_parameters=dict(rope_type="default", rope_theta=1000.0), sliding_window=4),
        "no-bias": dict(attention_bias=False, num_experts_per_tok=1, sliding_window=9),
    }),
    "ernie4_5_moe": (dict(moe_num_experts=6, moe_k=2, moe_intermediate_size=24), {
        "bias": dict(use_bias=True, moe_num_shared_experts=1, tie_word_embeddings=False),
        "no-shared": dict(moe_num_shared_experts=0, moe_layer_start_index=0),
        "interval": dict(moe_layer_interval=2, moe_layer_start_index=0, moe_k=3),
    }),
    "granitemoe": (dict(num_local_experts=6, num_experts_per_tok=2), {
        "bias": dict(attention_bias=True, logits_scaling=3.0, embedding_multiplier=0.5, attention_multiplier=0.2),
        "ordinary": dict(residual_multiplier=0.3),
    }),
    "phimoe": (dict(num_local_experts=6, num_experts_per_tok=2), {
        "no-biases": dict(attention_bias=False, lm_head_bias=False, router_jitter_noise=0.3),
        "window": dict(attention_bias=True, lm_head_bias=True, sliding_window=6, router_jitter_noise=0.01),
        # Within the original context: beyond it transformers keeps the short factors, the model's own code does not.
        "longrope": dict(max_position_embeddings=64, original_max_position_embeddings=32, rope_parameters=dict(
            rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
            long_factor=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], short_mscale=1.1, long_mscale=1.3,
            original_max_position_embeddings=32)),
    }),
    "hunyuan_v1_moe": (dict(num_experts=6, moe_topk=2, head_dim=12), {
        "lists": dict(moe_topk=[2, 2, 2], num_experts=6),
        "alpha": dict(rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, alpha=50.0, factor=1.0)),
    }),
    "minimax": (LOCAL, {
        "factors": dict(layer_types=["linear_attention", "full_attention", "linear_attention"], full_attn_alpha_factor=1.2,
                        full_attn_beta_factor=0.8, linear_attn_alpha_factor=0.7, linear_attn_beta_factor=1.1,
                        mlp_alpha_factor=1.3, mlp_beta_factor=0.9),
        "ordinary": dict(block_size=8),
    }),
    "minimax_m2": (LOCAL, {
        "half": dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)),
        "whole": dict(num_experts_per_tok=3),
    }),
    "lfm2_moe": (dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24), {
        "bias": dict(conv_bias=True, conv_L_cache=4, num_dense_layers=1, layer_types=["conv", "full_attention", "conv"]),
        "no-expert-bias": dict(use_expert_bias=False, norm_topk_prob=False, routed_scaling_factor=1.5, num_dense_layers=0,
                               layer_types=["full_attention", "conv", "conv"], tie_word_embeddings=False),
    }),
    "jetmoe": (dict(num_local_experts=6, num_experts_per_tok=2, num_key_value_heads=2, kv_channels=12), {
        "three": dict(num_experts_per_tok=3, num_attention_heads=6), "untied": dict(tie_word_embeddings=False),
    }),
    "llama4_text": (dict(LOCAL, intermediate_size_mlp=36, num_experts_per_tok=1), {
        "two-experts": dict(num_experts_per_tok=2, attention_chunk_size=9, interleave_moe_layer_step=2),
        "no-norm": dict(use_qk_norm=False, attn_temperature_tuning=False, no_rope_layers=[1, 0, 1], attention_chunk_size=16),
        "tuned": dict(floor_scale=3, attn_scale=0.4, no_rope_layers=[0, 1, 0], attention_bias=True, moe_layers=[0, 1, 2]),
    }),
    "qwen3_vl_moe": (NORMED, {
        "ordinary": dict(rope_parameters=dict(rope_type="default", rope_theta=5e5, mrope_section=[2, 2, 2])),
        "dense-layer": dict(mlp_only_layers=[1], attention_bias=True, num_experts_per_tok=3,
                            rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[2, 2, 2])),
    }),
    "glm4v_moe": (CORRECTED, {
        "ordinary": dict(rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5, mrope_section=[1, 1, 1])),
        "groups": dict(attention_bias=False, n_group=2, topk_group=1,
                       rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5, mrope_section=[1, 1, 1])),
    }),
    "exaone_moe": (dict(NORMED, num_experts=8), {
        "windows": dict(sliding_window=5, sliding_window_pattern=2, routed_scaling_factor=1.4),
        "types": dict(sliding_window=9, layer_types=["full_attention", "sliding_attention", "full_attention"], n_group=2, topk_group=1, num_shared_experts=2,
                          mlp_layer_types=["sparse", "dense", "sparse"]),
    }),
    "hy_v3": (NORMED, {
        "ordinary": dict(),
        "bias": dict(attention_bias=True, num_shared_experts=2, mlp_layer_types=["sparse", "sparse", "dense"],
                     router_scaling_factor=0.7),
    }),
    "solar_open": (CORRECTED, {
        "ordinary": dict(), "bias": dict(attention_bias=True, n_group=2, topk_group=1, routed_scaling_factor=1.3),
    }),
    "afmoe": (NORMED, {
        "windows": dict(sliding_window=5, global_attn_every_n_layers=2, route_scale=1.2, mup_enabled=True),
        "bias": dict(attention_bias=True, num_dense_layers=2, num_shared_experts=1),
    }),
    "mimo_v2_flash": (dict(CORRECTED, n_shared_experts=None, v_head_dim=8, head_dim=12, num_attention_heads=4, num_key_value_heads=1), {
        "windows": dict(sliding_window=5, layer_types=["full_attention", "sliding_attention", "sliding_attention"]),
        "bias": dict(attention_bias=True, attention_value_scale=None, mlp_layer_types=["sparse", "sparse", "sparse"],
                     n_group=2, topk_group=1, routed_scaling_factor=1.6),
    }),
    "granitemoeshared": (dict(num_local_experts=6, num_experts_per_tok=2), {
        "shared": dict(shared_intermediate_size=20, logits_scaling=3.0, embedding_multiplier=0.5, attention_multiplier=0.2),
        "none": dict(shared_intermediate_size=0, residual_multiplier=0.3, attention_bias=True),
    }),
    "deepseek_v32": (dict(LATENT, index_topk=64, index_head_dim=16, index_n_heads=2), {
        "groups": dict(n_group=2, topk_group=1, routed_scaling_factor=1.3),
        "yarn": dict(attention_bias=True, mlp_layer_types=["sparse", "dense", "sparse"],
                     rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=0.8)),
    }),
    "glm_moe_dsa": (dict(LATENT, index_topk=64, index_head_dim=16, index_n_heads=2), {
        "full": dict(), "shared": dict(indexer_types=["full", "shared", "shared"], first_k_dense_replace=0),
    }),
    "mistral4": (LATENT, {
        "temperature": dict(rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3, original_max_position_embeddings=8)),
        "groups": dict(n_group=2, topk_group=1, q_lora_rank=None, norm_topk_prob=False, rope_interleave=False, first_k_dense_replace=0,
                       rope_parameters=dict(YARN, llama_4_scaling_beta=0.1)),
    }),
    "gemma4": (dict(num_experts=6, top_k_experts=2, moe_intermediate_size=24, head_dim=12, global_head_dim=16, enable_moe_block=True,
                    hidden_size_per_layer_input=0, sliding_window=5), {
        "shared-keys": dict(layer_types=["sliding_attention", "sliding_attention", "full_attention"], attention_k_eq_v=True,
                            num_global_key_value_heads=1, final_logit_softcapping=4.0, use_bidirectional_attention="vision"),
        "plain": dict(layer_types=["full_attention", "sliding_attention", "full_attention"], attention_bias=True),
    }),
    "minimax_m3_vl": (dict(LOCAL, intermediate_size=24, dense_intermediate_size=32, shared_intermediate_size=20, rotary_dim=6, index_n_heads=2,
                           index_head_dim=12, index_block_size=8, index_topk_blocks=8, tie_word_embeddings=False,
                           rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5)), {
        "indexed": dict(layer_types=["full_attention", "minimax_m3_sparse", "minimax_m3_sparse"], swiglu_limit=0.3,
                        mlp_layer_types=["dense", "sparse", "sparse"]),
        "full": dict(routed_scaling_factor=0.7, swiglu_alpha=1.2),
    }),
    "jamba": (dict(num_experts=6, num_experts_per_tok=2, attn_layer_period=3, attn_layer_offset=1, mamba_d_state=6, mamba_d_conv=3), {
        "ordinary": dict(),
        "other-layers": dict(expert_layer_offset=0, attn_layer_offset=0, mamba_dt_rank=5, mamba_conv_bias=False, mamba_proj_bias=True,
                             mamba_expand=1),
    }),
    "dbrx": (dict(d_model=48, n_heads=4, n_layers=2, max_seq_len=128), {
        "clipped": dict(attn_config=dict(kv_n_heads=2, clip_qkv=0.7, rope_theta=1e4), ffn_config=dict(ffn_hidden_size=24, moe_num_experts=6, moe_top_k=2)),
        "not-normalised": dict(attn_config=dict(kv_n_heads=1, clip_qkv=8.0, rope_theta=1e4), rope_parameters=dict(rope_type="default", rope_theta=500.0), ffn_config=dict(
            ffn_hidden_size=24, moe_num_experts=6, moe_top_k=3, moe_normalize_expert_weights=None, ffn_act_fn=dict(name="gelu"))),
    }),
    "aria": (dict(moe_num_experts=6, moe_topk=2, head_dim=12, model_type="aria_text", intermediate_size=24), {
        "ordinary": dict(), "biases": dict(attention_bias=True, mlp_bias=True, moe_num_shared_experts=1),
    }),
    "granitemoe_swa": (dict(num_local_experts=6, num_experts_per_tok=2, sliding_window=5), {
        "angles": dict(layer_rope_theta=[100.0, 0, 5000.0], logits_scaling=3.0, attention_multiplier=0.2, shared_intermediate_size=20),
        "ordinary": dict(attention_bias=True, residual_multiplier=0.3,
                         layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    }),
    "laguna": (dict(NORMED, shared_expert_intermediate_size=20, sliding_window=5), {
        "heads": dict(layer_types=["full_attention", "sliding_attention", "sliding_attention"], num_attention_heads_per_layer=[4, 6, 2],
                      moe_routed_scaling_factor=1.3),
        "elements": dict(gating="per-element", attention_bias=True, mlp_layer_types=["sparse", "dense", "sparse"]),
    }),
    "step3p7": (dict(n_routed_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, head_dim=12, share_expert_dim=20, sliding_window=5), {
        "limits": dict(mlp_layer_types=["dense", "sparse", "sparse"], layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                       num_sliding_attention_heads=6, swiglu_limits=[None, 0.05, 0.0], swiglu_limits_shared=[0.1, 0.0, 0.05],
                       moe_router_scaling_factor=1.3),
        # As hub files tell it.
        "padded": dict(moe_layers_enum="1,2,3", num_nextn_predict_layers=1, attention_bias=True, query_pre_attn_scalar=20,
                       layer_types=["full_attention", "sliding_attention", "sliding_attention", "sliding_attention"],
                       attention_other_setting=dict(num_attention_heads=2), rope_theta=[5e4, 100.0, 100.0, 100.0],
                       partial_rotary_factors=[0.5, 1.0, 1.0, 1.0], rope_scaling=dict(
                           rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=32.0, original_max_position_embeddings=16)),
    }),
    "cohere2_moe": (dict(num_experts=6, num_experts_per_tok=2, head_dim=12, sliding_window=5, num_shared_experts=2), {
        "softmax": dict(sliding_window_pattern=2, shared_expert_combination_strategy="sum", logit_scale=2.0),
        "sigmoid": dict(expert_selection_fn="sigmoid", first_k_dense_replace=1, prefix_dense_intermediate_size=36, rms_norm_eps=1e-5, logit_scale=1.5,
                        attention_bias=True, sliding_window_pattern=2, tie_word_embeddings=False),
        "plain": dict(expert_selection_fn="sigmoid", norm_topk_prob=False, num_shared_experts=0, layer_types=["full_attention"] * 3),
    }),
    "flint": (dict(NORMED, shared_expert_intermediate_size=20, sliding_window=5, mlp_only_layers=[0]), {
        "sinks": dict(layer_types=["full_attention", "sliding_attention", "sliding_attention"]),
        "biased": dict(layer_types=["sliding_attention", "full_attention", "sliding_attention"], attention_bias=True, norm_topk_prob=False,
                       mlp_only_layers=[1], rope_parameters=dict(YARN)),
    }),
    "kolibri1": (dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, head_dim=12, shared_expert_intermediate_size=20,
                      sliding_window=5), {
        "ordinary": dict(layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
        "normalised": dict(layer_types=["full_attention", "sliding_attention", "full_attention"], norm_topk_prob=True, tie_word_embeddings=True),
    }),
    "bailing_hybrid": (dict(num_local_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, kv_lora_rank=20, qk_nope_head_dim=10,
                            qk_rope_head_dim=6, v_head_dim=14, num_key_value_heads=4, head_dim=12, short_conv_kernel_size=3, num_mtp_layers=0), {
        "bounded": dict(n_group=2, topk_group=1, first_k_dense_replace=1, layer_group_size=2),
        "unbounded": dict(n_group=1, topk_group=1, first_k_dense_replace=0, layer_types=["full_attention", "linear_attention", "full_attention"],
                          kda_safe_gate=False, attention_bias=True, norm_topk_prob=False, n_shared_experts=2, kda_lower_bound=-2.0),
    }),
    "mellum": (NORMED, {
        "windows": dict(sliding_window=5, layer_types=["full_attention", "sliding_attention", "sliding_attention"]),
        "dense-layer": dict(mlp_layer_types=["sparse", "dense", "sparse"], attention_bias=True, norm_topk_prob=False, rope_parameters=dict(
            full_attention=dict(YARN), sliding_attention=dict(rope_type="default", rope_theta=100.0))),
    }),
    "axk1": (LATENT, {
        "ordinary": dict(), "groups": dict(n_group=2, topk_group=1, rope_interleave=False, mlp_layer_types=["sparse", "dense", "sparse"]),
    }),
    "granitemoehybrid": (dict(num_local_experts=6, num_experts_per_tok=2, shared_intermediate_size=20, mamba_n_heads=6, mamba_d_state=10,
                              mamba_d_conv=3, mamba_expand=2, mamba_n_groups=1, mamba_d_head=16), {
        "rope": dict(layer_types=["linear_attention", "full_attention", "linear_attention"], position_embedding_type="rope",
                     logits_scaling=3.0, embedding_multiplier=0.5, attention_multiplier=0.2),
        "no-positions": dict(layer_types=["full_attention", "linear_attention", "linear_attention"], mamba_n_groups=3,
                             mamba_conv_bias=False, mamba_proj_bias=True, residual_multiplier=0.3, attention_bias=True),
    }),
    "nemotron_h": (dict(layers_block_type=["linear_attention", "moe", "full_attention", "mlp", "moe"], head_dim=12,
                        ssm_state_size=10, mamba_num_heads=6, mamba_head_dim=8, n_groups=2, conv_kernel=3, n_routed_experts=8,
                        num_experts_per_tok=3, moe_intermediate_size=24, moe_shared_expert_intermediate_size=20), {
        "ordinary": dict(routed_scaling_factor=1.4),
        "latent": dict(moe_latent_size=20, n_group=2, topk_group=1, norm_topk_prob=False),
        "biases": dict(use_bias=True, mlp_bias=True, use_conv_bias=False, n_groups=1, time_step_min=0.3),
    }),
    "kimi_linear": (dict(num_local_experts=8, num_experts_per_tok=3, moe_intermediate_size=24, kv_lora_rank=20, qk_nope_head_dim=10,
                         qk_rope_head_dim=6, v_head_dim=14, num_key_value_heads=4, linear_head_dim=12, linear_num_heads=3,
                         linear_conv_kernel_dim=3), {
        "ordinary": dict(layer_types=["linear_attention", "full_attention", "linear_attention"]),
        "groups": dict(layer_types=["full_attention", "linear_attention", "full_attention"], n_group=2, topk_group=1,
                       n_shared_experts=2, mlp_layer_types=["sparse", "sparse", "dense"], q_lora_rank=12),
    }),
    "qwen3_omni_moe": (NORMED, {
        "ordinary": dict(rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[2, 2, 2])),
    }),
    "kimi_k25": (dict(LATENT, model_type="deepseek_v3"), {
        "ordinary": dict(), "groups": dict(n_group=2, topk_group=1),
    }),
    "mistral3": (dict(LATENT, model_type="mistral4"), {"ordinary": dict(rope_parameters=dict(YARN, llama_4_scaling_beta=0.1))}),
    "internvl": (dict(NORMED, model_type="qwen3_moe"), {"ordinary": dict()}),
}

# What the configs of multimodal models have beside their text_config, which has the options above.
OUTER = {
    "step3p7": dict(vision_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4),
                    tie_word_embeddings=False),
    "qwen3_vl_moe": dict(vision_config=dict(VISION, deepstack_visual_indexes=[0])),
    "glm4v_moe": dict(vision_config=VISION),
    "minimax_m3_vl": dict(vision_config=dict(hidden_size=16, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8,
                                             patch_size=4, temporal_patch_size=1), projector_hidden_size=16),
    "aria": dict(vision_config=dict(model_type="idefics3_vision", hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                    intermediate_size=8, patch_size=4, image_size=8), projector_patch_to_query_dict={"4": 2}, initializer_range=0.2,
                 tie_word_embeddings=False),
    "gemma4": dict(vision_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
                                      intermediate_size=8, patch_size=4, pooling_kernel_size=2, position_embedding_size=16),
                   audio_config=None),
    "qwen3_omni_moe": dict(vision_config=dict(VISION, deepstack_visual_indexes=[0]), audio_config=dict(
        d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=8, num_mel_bins=8, output_dim=48,
        downsample_hidden_size=8, n_window=4, n_window_infer=8)),
    "kimi_k25": dict(vision_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                                        patch_size=4, pos_emb_height=4, pos_emb_width=4), projection_hidden_size=16,
                     tie_word_embeddings=False),
    "mistral3": dict(vision_config=dict(model_type="pixtral", hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                        intermediate_size=8, patch_size=4, image_size=8, head_dim=8),
                     tie_word_embeddings=False),
    "internvl": dict(vision_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                                        patch_size=[4, 4], image_size=[8, 8]), tie_word_embeddings=False),
}


def main():
    out, *names = sys.argv[1:]
    failed = []
    seed = 0
    for family, (base, cases) in FAMILIES.items():
        for name, changes in cases.items():
            seed += 1
            if names and family not in names and f"{family}.{name}" not in names:
                continue
            torch.manual_seed(seed)
            try:
                make(f"{out}/{family}.{name}", family, {**COMMON, **base, **changes})
            except Exception:
                failed.append(f"{family}.{name}: {traceback.format_exc(limit=-2)}")
    if failed:
        sys.exit("\n".join(failed))


def nested(family, options):
    """The options where the config has them: those of multimodal models are of their text model."""
    if family not in OUTER:
        return options
    inner = dict(OUTER[family], text_config=options)
    return dict(thinker_config=dict(inner, initializer_range=0.2), enable_audio_output=False) if family == "qwen3_omni_moe" else inner


def rename_layers(path):
    """transformers 5.23 saves the text layers of Kimi K2.5 as `blocks`, and reads them as the hub has them: `layers`."""
    tensors = {name.replace("language_model.model.blocks.", "language_model.model.layers."): tensor
               for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def make(path, family, options):
    config = AutoConfig.for_model(family, **nested(family, options))
    model_class = auto_class(family)
    model = getattr(model_class, "from_config", getattr(model_class, "_from_config", None))(config)
    with torch.no_grad():
        for name, parameter in list(model.named_parameters()) + list(model.named_buffers()):
            if parameter.ndim <= 1 and parameter.is_floating_point():
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "experts" in name or ".gate.weight" in name or "correction_bias" in name:
                parameter.normal_(0, 0.2)
    # MiniMax's decays are buffers that transformers would round too; they follow from a formula.
    model.to(torch.float32 if family == "minimax" else torch.bfloat16).save_pretrained(path)
    if family == "kimi_k25":
        rename_layers(f"{path}/model.safetensors")
    model = model_class.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(1, options["vocab_size"], (2, 25))
    with torch.no_grad():
        logits = text_logits(model, ids)
    save_file({"input_ids": ids.int(), "logits": logits.contiguous().float()}, f"{path}.safetensors")


if __name__ == "__main__":
    main()
