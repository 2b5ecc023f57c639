import { Checkpoint } from "../checkpoint/checkpoint.js";
import { resolveModel } from "../hub/model.js";
import { type HubEvent, hubOptionsFromEnvironment } from "../hub/settings.js";
import { checkTensors, describeModel } from "../model/describe.js";
import type { ModelDescription } from "../model/description.js";

/** A checkpoint that was found, opened and understood. Close the checkpoint when done. */
export interface OpenedModel {
  /** What the user called it, with the commit where it came from the hub. */
  readonly name: string;
  /** Its id on the hub, where it came from there. */
  readonly hubId: string | undefined;
  readonly folder: string;
  readonly checkpoint: Checkpoint;
  readonly model: ModelDescription;
}

export interface OpenModelContext {
  readonly onEvent?: ((event: HubEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Opens a folder or hub id, describes the model, and checks that every tensor is there in its shape. */
export async function openModel(name: string, context: OpenModelContext = {}): Promise<OpenedModel> {
  const resolved = await resolveModel(name, { ...hubOptionsFromEnvironment(process.env), ...context });
  const checkpoint = await Checkpoint.open(resolved.folder);
  try {
    const model = describeModel(checkpoint.config, checkpoint);
    checkTensors(checkpoint, model);
    return {
      hubId: resolved.id,
      name: resolved.commit ? `${resolved.id}@${resolved.commit}` : name,
      folder: resolved.folder,
      checkpoint,
      model,
    };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}
