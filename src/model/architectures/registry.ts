import { describeAfmoe } from "./afmoe.js";
import { describeAriaText } from "./aria.js";
import { describeAxk1 } from "./axk1.js";
import { describeBailingHybrid } from "./bailing-hybrid.js";
import { describeCohere2Moe } from "./cohere2-moe.js";
import { describeDbrx } from "./dbrx.js";
import { describeDeepseekV2 } from "./deepseek-v2.js";
import { describeDeepseekV3 } from "./deepseek-v3.js";
import { describeDeepseekV32 } from "./deepseek-v32.js";
import { describeDots1 } from "./dots1.js";
import { describeErnie45Moe } from "./ernie4-5-moe.js";
import { describeExaoneMoe } from "./exaone-moe.js";
import { describeFlexOlmo } from "./flex-olmo.js";
import { describeFlint } from "./flint.js";
import { describeGemma4 } from "./gemma4.js";
import { describeGlm4Moe } from "./glm4-moe.js";
import { describeGlm4MoeLite } from "./glm4-moe-lite.js";
import { describeGptOss } from "./gpt-oss.js";
import { describeGraniteMoe } from "./granitemoe.js";
import { describeGraniteMoeSwa } from "./granitemoe-swa.js";
import { describeGraniteMoeHybrid } from "./granitemoehybrid.js";
import { describeHunyuanV1Moe } from "./hunyuan-v1-moe.js";
import { describeHyV3 } from "./hy-v3.js";
import { describeJamba } from "./jamba.js";
import { describeJetmoe } from "./jetmoe.js";
import { describeKimiLinear } from "./kimi-linear.js";
import { describeKolibri1 } from "./kolibri1.js";
import { describeLaguna } from "./laguna.js";
import { describeLfm2Moe } from "./lfm2-moe.js";
import { describeLlama4 } from "./llama4.js";
import { describeMellum } from "./mellum.js";
import { describeMimoV2Flash } from "./mimo-v2-flash.js";
import { describeMinimax } from "./minimax.js";
import { describeMinimaxM2 } from "./minimax-m2.js";
import { describeMinimaxM3 } from "./minimax-m3.js";
import { describeMistral4 } from "./mistral4.js";
import { describeMixtral } from "./mixtral.js";
import { type Describe, describeWrapped } from "./multimodal.js";
import { describeNemotronH } from "./nemotron-h.js";
import { describeOlmoe } from "./olmoe.js";
import { describePhimoe } from "./phimoe.js";
import { describeQwen2Moe } from "./qwen2-moe.js";
import { describeQwen35Moe } from "./qwen3-5-moe.js";
import { describeQwen3Moe } from "./qwen3-moe.js";
import { describeQwen3Next } from "./qwen3-next.js";
import { describeQwen3OmniMoe } from "./qwen3-omni-moe.js";
import { describeQwen3VlMoe } from "./qwen3-vl-moe.js";
import { describeSolarOpen } from "./solar-open.js";
import { describeStep3p7 } from "./step3p7.js";

/** Families of text models. */
const TEXT: Readonly<Record<string, Describe>> = {
  qwen3_moe: describeQwen3Moe,
  qwen2_moe: describeQwen2Moe,
  qwen3_next: describeQwen3Next,
  qwen3_5_moe: describeQwen35Moe,
  qwen3_5_moe_text: describeQwen35Moe,
  mixtral: describeMixtral,
  olmoe: describeOlmoe,
  flex_olmo: describeFlexOlmo,
  deepseek_v2: describeDeepseekV2,
  deepseek_v3: describeDeepseekV3,
  kimi_k2: describeDeepseekV3,
  glm4_moe: describeGlm4Moe,
  glm4v_moe: describeGlm4Moe,
  glm4_moe_lite: describeGlm4MoeLite,
  dots1: describeDots1,
  gpt_oss: describeGptOss,
  ernie4_5_moe: describeErnie45Moe,
  granitemoe: describeGraniteMoe,
  granitemoeshared: describeGraniteMoe,
  phimoe: describePhimoe,
  hunyuan_v1_moe: describeHunyuanV1Moe,
  minimax: describeMinimax,
  minimax_m2: describeMinimaxM2,
  lfm2_moe: describeLfm2Moe,
  jetmoe: describeJetmoe,
  llama4: describeLlama4,
  llama4_text: describeLlama4,
  solar_open: describeSolarOpen,
  exaone_moe: describeExaoneMoe,
  hy_v3: describeHyV3,
  afmoe: describeAfmoe,
  mimo_v2_flash: describeMimoV2Flash,
  qwen3_vl_moe: describeQwen3VlMoe,
  deepseek_v32: describeDeepseekV32,
  glm_moe_dsa: describeDeepseekV32,
  mistral4: describeMistral4,
  jamba: describeJamba,
  laguna: describeLaguna,
  granitemoe_swa: describeGraniteMoeSwa,
  dbrx: describeDbrx,
  aria_text: describeAriaText,
  minimax_m3_vl: describeMinimaxM3,
  minimax_m3_vl_text: describeMinimaxM3,
  mellum: describeMellum,
  flint: describeFlint,
  kolibri1: describeKolibri1,
  bailing_hybrid: describeBailingHybrid,
  cohere2_moe: describeCohere2Moe,
  step3p7: describeStep3p7,
  axk1: describeAxk1,
  gemma4: describeGemma4,
  gemma4_text: describeGemma4,
  nemotron_h: describeNemotronH,
  granitemoehybrid: describeGraniteMoeHybrid,
  kimi_linear: describeKimiLinear,
  qwen3_omni_moe: describeQwen3OmniMoe,
};

const wrapped: Describe = (config, tensors) => describeWrapped(config, tensors, TEXT);

/** Every family this program knows, by `model_type`. A new one is one file in this folder and one line here. */
export const ARCHITECTURES: Readonly<Record<string, Describe>> = {
  ...TEXT,
  aria: wrapped,
  kimi_k25: wrapped,
  mistral3: wrapped,
  internvl: wrapped,
};
