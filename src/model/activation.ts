import type { Activation } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import type { ConfigReader } from "./config.js";

const NAMES: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
};

/** The activation function of the feed-forward blocks, under the name that transformers gives it. */
export function readActivation(config: ConfigReader, key = "hidden_act"): Activation {
  const name = config.string(key, "silu");
  const activation = NAMES[name];
  if (activation !== undefined) return activation;
  throw new ReamError("CONFIG_VALUE", `activation ${JSON.stringify(name)} is not supported`, {
    where: `config.json ${key}`,
    hint: `Supported: ${Object.keys(NAMES).join(", ")}.`,
  });
}
