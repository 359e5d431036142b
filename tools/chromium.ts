/** Headless Chromium, as Debian packages it, for browser tests and screenshots. */
import { type Browser, chromium } from "playwright-core";

const PROGRAM = "/usr/bin/chromium";

/** Whether Chromium is installed: `apt-get install chromium`. */
export function hasChromium(): boolean {
  try {
    return Deno.statSync(PROGRAM).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Starts a browser; whoever starts it closes it. */
export async function startChromium(): Promise<Browser> {
  return await chromium.launch({
    executablePath: PROGRAM,
    args: [
      // As root there is no sandbox; it opens only pages of this machine.
      "--no-sandbox",
      "--headless",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-dev-shm-usage",
    ],
  });
}
