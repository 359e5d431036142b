/**
 * `deno task screenshots`: takes the pictures of the live page in docs/ anew, from a real cluster
 * that goes through the story meanwhile. Takes about two minutes.
 *
 * @module
 */
import { delay } from "@std/async/delay";
import { fromFileUrl, join } from "@std/path";
import { TextLineStream } from "@std/streams/text-line-stream";
import { type Browser, type Page } from "playwright-core";
import { hasChromium, startChromium } from "./chromium.ts";

const ROOT = fromFileUrl(new URL("..", import.meta.url));
const DOCS = join(ROOT, "docs");

/** The largest picture that README may show (bytes). */
const MAX_BYTES = 150_000;

const DESKTOP = { width: 1280, height: 880 };
const PHONE = { width: 375, height: 1180 };

const SHOTS = [
  { name: "page-light.png", colorScheme: "light", viewport: DESKTOP, scale: 1.5 },
  { name: "page-dark.png", colorScheme: "dark", viewport: DESKTOP, scale: 1.5 },
  { name: "page-phone.png", colorScheme: "dark", viewport: PHONE, scale: 2 },
] as const;

/** Starts a cluster and resolves to the address of its page; the process ends with `stop`. */
async function startCluster(): Promise<{ origin: string; stop(): Promise<void> }> {
  const child = new Deno.Command(join(ROOT, "dist", "kvs"), {
    args: ["cluster", "--port", "0", "--drain", "4", "--ui", "0"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).getReader();
  let origin = "";
  while (origin === "") {
    const { value, done } = await lines.read();
    if (done) throw new Error("kvs cluster ended before its page was there");
    origin = /^live page: (http:\S+)$/.exec(value)?.[1] ?? "";
  }
  // What it prints from now on is read too: it ends when nobody does.
  const read = (async () => {
    while (!(await lines.read()).done);
  })();
  return {
    origin,
    async stop() {
      child.kill("SIGTERM");
      await read;
      await child.stdin.close().catch(() => {});
      await child.status;
    },
  };
}

async function told(page: Page, text: string): Promise<void> {
  await page.locator("#events").getByText(text, { exact: true }).first().waitFor();
}

/** Goes through the story; ends in the moment in which server-2 shuts down. */
async function play(page: Page): Promise<void> {
  await page.locator("#hits[data-all=true]").waitFor();
  await delay(20_000);
  await page.getByRole("button", { name: "Delete server-1" }).click();
  await told(page, "server-1 back, nothing lost");
  await delay(20_000);
  await page.getByRole("button", { name: "One server fewer" }).click();
  await page.getByRole("button", { name: /^Scale to 2/ }).click();
  await told(page, "2 servers run now");
  await delay(8000);
  await page.getByRole("button", { name: "One server more" }).click();
  await page.getByRole("button", { name: /^Scale to 3/ }).click();
  await told(page, "server-2 now has 9 letters");
  await delay(8000);
  await page.getByRole("button", { name: "Delete server-2" }).click();
  await page.locator("#rounds tr:first-child [data-status='5']").first().waitFor();
}

async function take(browser: Browser, origin: string): Promise<void> {
  const pages = await Promise.all(SHOTS.map(async ({ colorScheme, viewport, scale }) => {
    const context = await browser.newContext({
      colorScheme,
      viewport,
      deviceScaleFactor: scale,
      reducedMotion: "reduce",
    });
    const page = await context.newPage();
    await page.goto(origin);
    return page;
  }));
  const [first] = pages;
  if (first === undefined) throw new RangeError("No pictures to take");
  await play(first);
  await Promise.all(pages.map(async (page, index) => {
    const path = join(DOCS, SHOTS[index]?.name ?? "");
    await page.screenshot({ path, fullPage: false });
    await optimise(path);
    const { size } = await Deno.stat(path);
    if (size > MAX_BYTES) throw new Error(`${path} has ${size} bytes, at most ${MAX_BYTES}`);
    console.error(`${path}: ${size} bytes`);
  }));
}

/** Reduces a picture to a palette: flat areas and text lose nothing that one could see. */
async function optimise(path: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("pngquant", {
    args: ["--force", "--strip", "--speed", "1", "--output", path, "128", path],
  }).output();
  if (!success) throw new Error(`pngquant: ${new TextDecoder().decode(stderr).trim()}`);
}

if (!hasChromium()) {
  console.error("Cannot take screenshots: chromium is missing (apt-get install chromium pngquant)");
  Deno.exit(1);
}
const cluster = await startCluster();
const browser = await startChromium();
try {
  await take(browser, cluster.origin);
} finally {
  await browser.close();
  await cluster.stop();
}
