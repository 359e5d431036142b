/// <reference lib="dom" />
/** The live page in a real browser, with a real cluster behind it. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import axe from "axe-core";
import { type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { hasChromium, startChromium } from "../../tools/chromium.ts";
import { Running, TempDir, until } from "../e2e/program.ts";

const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 375, height: 812 };

/** A kvs that serves a page, and a browser. */
class Stage implements AsyncDisposable {
  readonly kvs: Running;
  readonly #temp: TempDir;
  readonly #browser: Browser;
  #origin = "";
  /** What no test wants: errors in the console, requests that go elsewhere. */
  readonly faults: string[] = [];

  private constructor(kvs: Running, temp: TempDir, browser: Browser) {
    this.kvs = kvs;
    this.#temp = temp;
    this.#browser = browser;
  }

  static async start(args: readonly string[]): Promise<Stage> {
    const temp = new TempDir();
    const kvs = new Running([...args, "--ui", "0"], { env: { TMPDIR: temp.path } });
    const stage = new Stage(kvs, temp, await startChromium());
    const [, origin = ""] = await kvs.line(/^live page: (http:\S+)$/);
    stage.#origin = origin;
    return stage;
  }

  async open(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.#browser.newContext({ viewport: DESKTOP, ...options });
    const page = await context.newPage();
    page.on("console", (message) => {
      if (message.type() !== "log") this.faults.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.faults.push(`error: ${error.message}`));
    page.on("request", (request) => {
      if (!request.url().startsWith(this.#origin)) this.faults.push(`request: ${request.url()}`);
    });
    page.on("response", (response) => {
      if (!response.ok()) this.faults.push(`${response.status()} ${response.url()}`);
    });
    await page.goto(this.#origin);
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
    this.kvs.kill("SIGTERM");
    await this.kvs.exit();
    await this.kvs[Symbol.asyncDispose]();
    await this.#temp[Symbol.asyncDispose]();
  }
}

const CLUSTER = ["cluster", "--port", "0", "--drain", "1"];

/** It drains longer than a round, so that a row shows it. */
const SLOW_CLUSTER = ["cluster", "--port", "0", "--drain", "3"];

/** The newest row of the page. */
async function newestRow(page: Page): Promise<string> {
  return (await page.locator("#rounds tr:first-child td.cell").allTextContents()).join("");
}

async function allHit(page: Page, servers: number): Promise<void> {
  await until(`all letters hit on ${servers} servers`, async () => {
    const owners = new Set(await page.locator("#letter-head .chip").allTextContents());
    return owners.size === servers && await newestRow(page) === "h".repeat(26) || undefined;
  });
}

async function told(page: Page): Promise<string[]> {
  return (await page.locator("#events li > span:last-child").allTextContents()).reverse();
}

async function toldOf(page: Page, text: string): Promise<void> {
  await page.locator("#events").getByText(text, { exact: true }).first().waitFor();
}

/** Violations that axe calls serious or critical, one line each. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const run = Reflect.get(globalThis, "axe").run;
    const results = await run(document, { resultTypes: ["violations"] });
    return JSON.stringify(results.violations);
  });
  const all: axe.Result[] = JSON.parse(found);
  return all.filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).slice(0, 3).join(" ")}`);
}

/** A test that needs a browser: its name says so where there is none. */
function browserTest(name: string, test: () => Promise<void>): void {
  const ignore = !hasChromium();
  Deno.test({ name: ignore ? `${name} (skipped: no chromium)` : name, ignore, fn: test });
}

browserTest("the page follows a server that is deleted and comes back", async () => {
  await using stage = await Stage.start(SLOW_CLUSTER);
  const page = await stage.open();
  await allHit(page, 3);
  await page.getByRole("button", { name: "Delete server-1" }).click();
  await toldOf(page, "server-1 shutting down");
  await toldOf(page, "server-1 back, nothing lost");
  await allHit(page, 3);
  // Whoever listens hears it too.
  await until(
    "the event is announced",
    async () => (await page.locator("#announcer").textContent())?.includes("server-1") || undefined,
  );
  // Another viewer, who comes later, sees the same past.
  const later = await stage.open({ viewport: PHONE });
  await toldOf(later, "server-1 back, nothing lost");
  assertEquals(await later.locator("#hits").textContent(), "26 of 26");
  assertEquals(stage.faults, []);
});

browserTest("the page scales down and up with its keys, and nothing is lost", async () => {
  await using stage = await Stage.start(CLUSTER);
  const page = await stage.open();
  await allHit(page, 3);
  await page.getByRole("button", { name: "One server fewer" }).click();
  await page.getByRole("button", { name: "Scale to 2 servers, keys move along" }).click();
  await toldOf(page, "2 servers run now");
  await allHit(page, 2);
  assertEquals(await page.locator("#servers tr").count(), 2);
  // Up again, step by step.
  await page.getByText("Step by step").click();
  await page.getByRole("button", { name: "One server more" }).click();
  await page.getByRole("button", { name: "Only scale to 3" }).click();
  await toldOf(page, "3 servers run now");
  await page.locator("#control-state").getByText("3 run, but keys are placed for 2").waitFor();
  await page.getByRole("button", { name: "One server more" }).click();
  await page.getByRole("button", { name: "One server fewer" }).click();
  await page.getByRole("button", { name: "Only move keys to 3" }).click();
  // All may be found before the move has come to its end.
  await until("both moves are told", async () => {
    const moves = (await told(page)).filter((text) => text.startsWith("Keys moved: "));
    return moves.length === 2 || undefined;
  });
  await allHit(page, 3);
  const events = await told(page);
  assertEquals(events.filter((text) => /written again|had lost|another value/.test(text)), []);
  assertEquals(stage.faults, []);
});

browserTest("the keyboard reaches every control and shows where it is", async () => {
  await using stage = await Stage.start(CLUSTER);
  const page = await stage.open({ reducedMotion: "reduce" });
  await allHit(page, 3);
  const reached: string[] = [];
  for (let press = 0; press < 40; press++) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === null || element === document.body) return "";
      const label = element.getAttribute("aria-label") ?? element.id;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      return `${label || element.textContent?.trim()}|${outlineStyle} ${outlineWidth}`;
    });
    if (focus === "" || reached.includes(focus)) break;
    reached.push(focus);
  }
  assertEquals(reached.map((focus) => focus.split("|")[0]), [
    "Skip to the content",
    "One server fewer",
    "One server more",
    "resize",
    "Step by step",
    "servers-scroller",
    "Delete server-0",
    "Delete server-1",
    "Delete server-2",
    "events-scroller",
    "this page as JSON",
  ]);
  assertEquals(reached.filter((focus) => !focus.endsWith("|solid 3px")), []);
  // By keyboard alone: one server more, and the buttons behind the fold.
  await page.getByRole("button", { name: "One server more" }).focus();
  await page.keyboard.press("Enter");
  assertEquals(await page.locator("#target").textContent(), "4");
  await page.getByText("Step by step").focus();
  await page.keyboard.press("Space");
  await page.keyboard.press("Tab");
  assertEquals(await page.evaluate(() => document.activeElement?.id), "scale");
  // What cannot be used now stays reachable, says so, and does nothing.
  await page.keyboard.press("Tab");
  assertEquals(await page.evaluate(() => document.activeElement?.id), "move");
  assertEquals(await page.locator("#move").getAttribute("aria-disabled"), "true");
  await page.keyboard.press("Enter");
  assertEquals(stage.faults, []);
});

browserTest(
  "axe finds nothing serious, light, dark, on a phone, with and without servers",
  async () => {
    await using stage = await Stage.start(CLUSTER);
    await using alone = await Stage.start(["client", "127.0.0.1:1,127.0.0.1:2"]);
    for (
      const [colorScheme, viewport] of [["light", DESKTOP], ["dark", DESKTOP], [
        "dark",
        PHONE,
      ]] as const
    ) {
      for (const which of [stage, alone]) {
        const page = await which.open({
          colorScheme,
          viewport,
          reducedMotion: "reduce",
          bypassCSP: true,
        });
        await page.locator("#rounds tr").first().waitFor();
        if (which === stage) await allHit(page, 3);
        assertEquals(await violations(page), [], `${colorScheme} ${viewport.width}`);
        // Nothing is wider than the screen.
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert(width <= viewport.width, `${width} wide on ${viewport.width}`);
        await page.context().close();
      }
    }
  },
);

browserTest("the page says when there is no server, and when its own is gone", async () => {
  await using stage = await Stage.start(["client", "127.0.0.1:1", "--interval", "0.2"]);
  const page = await stage.open();
  await page.locator("#banner").getByText("No server reached yet").waitFor();
  assertEquals(await newestRow(page), ".".repeat(26));
  assertEquals(stage.faults, []);
  stage.kvs.kill("SIGTERM");
  await page.locator("#link-text").getByText("reconnecting").waitFor();
});

browserTest("no status is told by its colour alone, and all look different", async () => {
  await using stage = await Stage.start(["client", "127.0.0.1:1"]);
  for (const colorScheme of ["light", "dark"] as const) {
    const page = await stage.open({ colorScheme });
    const shown = await page.locator(".legend dt").evaluateAll((cells) =>
      cells.map((cell) => [cell.textContent, getComputedStyle(cell).backgroundColor])
    );
    assertEquals(shown.map(([letter]) => letter).join(""), "hwmx5.");
    assertEquals(new Set(shown.map(([, color]) => color)).size, 6);
    assertNotEquals(shown.at(-1)?.[1], undefined);
  }
});
