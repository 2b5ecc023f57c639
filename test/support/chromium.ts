import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const EXECUTABLE = "/usr/bin/chromium";

/** Debian's Chromium; checks in a browser are left out where it is missing, and say so. */
export const hasChromium = existsSync(EXECUTABLE);
if (!hasChromium)
  console.warn(`${EXECUTABLE} is missing: pages are NOT checked in a browser (apt-get install chromium)`);

const QUIET = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: EXECUTABLE, args: QUIET });
}
