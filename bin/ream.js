#!/usr/bin/env node
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`ream needs Node.js 20.19 or newer; this is ${process.version}.`);
  process.exit(1);
}

const { main } = await import("../dist/src/cli/main.js").catch((error) => {
  if (error.code !== "ERR_MODULE_NOT_FOUND" || !String(error.message).includes("main.js")) throw error;
  console.error("ream is not built. Run `npm run build` in its folder first.");
  process.exit(1);
});
process.exitCode = await main(process.argv);
