"""Which class of transformers loads a family's checkpoints: the text model alone where it can, else with its other parts."""
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, Qwen3OmniMoeForConditionalGeneration
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def auto_class(family):
    if family == "qwen3_omni_moe":
        return Qwen3OmniMoeForConditionalGeneration
    return AutoModelForCausalLM if family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else AutoModelForImageTextToText


def text_logits(model, ids):
    """Logits of token ids, without a cache."""
    return getattr(model, "thinker", model)(ids, use_cache=False).logits
