"""config.json of the demo models: one shape in two families."""

SHARED = dict(
    torch_dtype="bfloat16",
    vocab_size=1024,
    hidden_size=192,
    num_hidden_layers=4,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=32,
    intermediate_size=384,
    moe_intermediate_size=48,
    num_experts_per_tok=8,
    norm_topk_prob=True,
    hidden_act="silu",
    rope_theta=10000.0,
    max_position_embeddings=512,
    attention_bias=False,
    attention_dropout=0.0,
    tie_word_embeddings=True,
    initializer_range=0.02,
    use_cache=True,
    bos_token_id=None,
    eos_token_id=1,
    pad_token_id=0,
)

FAMILIES = dict(
    # Qwen3-MoE: a softmax router, balanced by a loss; experts in every layer.
    qwen3_moe=dict(
        SHARED,
        architectures=["Qwen3MoeForCausalLM"],
        model_type="qwen3_moe",
        num_experts=64,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        rms_norm_eps=1e-6,
        use_sliding_window=False,
        sliding_window=None,
        router_aux_loss_coef=0.001,
        output_router_logits=False,
    ),
    # GLM-4.5: the experts of DeepSeek-V3 (a sigmoid router with a correction bias, a shared expert, a dense first layer)
    # behind grouped-query attention with half-rotated heads.
    glm4_moe=dict(
        SHARED,
        architectures=["Glm4MoeForCausalLM"],
        model_type="glm4_moe",
        n_routed_experts=64,
        n_shared_experts=1,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=2.5,
        first_k_dense_replace=1,
        num_nextn_predict_layers=0,
        use_qk_norm=True,
        partial_rotary_factor=0.5,
        rms_norm_eps=1e-5,
    ),
)
