/** Writes the demo world: `node dist/demo/build-world.js OUT [TRAINING_DOCUMENTS]` */
import { buildWorld } from "./world/build.js";

const [out, documents = "600000"] = process.argv.slice(2);
if (out === undefined || !/^\d+$/.test(documents)) {
  console.error("usage: build-world OUT [TRAINING_DOCUMENTS]");
  process.exit(2);
}
await buildWorld(out, Number(documents));
