/** The layout of the code: who may import whom, by the table in ARCHITECTURE.md. */
import { assertEquals, assertMatch } from "@std/assert";
import { walk } from "@std/fs/walk";
import { dirname, fromFileUrl, join, normalize, relative } from "@std/path";

const ROOT = fromFileUrl(new URL("..", import.meta.url));

/** More files at the root of core than this hide the shared words among capabilities. */
const MOST_SHARED_FILES = 20;

/** Each file with the files of the project that it names in an import. */
type Imports = ReadonlyMap<string, readonly string[]>;

/** Each folder of core with the folders that it may import. */
type Arrows = ReadonlyMap<string, readonly string[]>;

/** Static, dynamic and JSDoc imports, and the module of a worker. */
const SPECIFIER =
  /(?:^|\s)from "(\.[^"]+)"|^import "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)|\bnew Worker\(\s*new URL\("(\.[^"]+)"/gm;

/** The files that `text`, which is that of `file`, imports by a relative path. */
function importsOf(file: string, text: string): string[] {
  return [...text.matchAll(SPECIFIER)].map((match) => {
    const specifier = match.slice(1).find((part) => part !== undefined) ?? "";
    return normalize(`${dirname(file)}/${specifier}`);
  });
}

async function readImports(): Promise<Imports> {
  const imports = new Map<string, string[]>();
  const add = async (path: string) => {
    const file = relative(ROOT, path).replaceAll("\\", "/");
    imports.set(file, importsOf(file, await Deno.readTextFile(path)));
  };
  await add(join(ROOT, "main.ts"));
  for (const folder of ["cmd", "core"]) {
    for await (const { path } of walk(join(ROOT, folder), { exts: [".ts", ".js"] })) {
      await add(path);
    }
  }
  return imports;
}

/** Reads the table from lines such as `server -> http, storage, system   one shard`. */
function readArrows(architecture: string): Arrows {
  const arrows = new Map<string, string[]>();
  for (
    const [, folder = "", targets = ""] of architecture.matchAll(
      /^ {4}(\w+) +-> (\([^)]*\)|\w+(?:, \w+)*)/gm,
    )
  ) {
    arrows.set(folder, targets.startsWith("(") ? [] : targets.split(", "));
  }
  return arrows;
}

/** `main`, `cmd`, `core` for a file at the root of core, else the folder of core. */
function placeOf(file: string): string {
  const [top = "", folder = "", ...rest] = file.split("/");
  if (top !== "core") return top === "main.ts" ? "main" : top;
  return rest.length === 0 ? "core" : folder;
}

/** What is wrong with the layout, a line each. */
function faultsOf(imports: Imports, arrows: Arrows): string[] {
  const faults: string[] = [];
  for (const [file, targets] of imports) {
    const from = placeOf(file);
    for (const target of targets) {
      const to = placeOf(target);
      if (from === to || to === "core" || target === "deno.json") continue;
      if (!(arrows.get(from) ?? []).includes(to)) {
        faults.push(`${file} imports ${target}: ${from} -> ${to}`);
      }
    }
  }
  const shared = [...imports.keys()].filter((file) => placeOf(file) === "core");
  if (shared.length > MOST_SHARED_FILES) faults.push(`core has ${shared.length} files at its root`);
  return [...faults, ...circlesOf(imports)];
}

/** Each import that closes a circle of files, with the way around. */
function circlesOf(imports: Imports): string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (file: string) => {
    if (way.includes(file)) {
      circles.push(`a circle: ${[...way.slice(way.indexOf(file)), file].join(" -> ")}`);
      return;
    }
    if (done.has(file)) return;
    done.add(file);
    way.push(file);
    for (const target of imports.get(file) ?? []) visit(target);
    way.pop();
  };
  for (const file of imports.keys()) visit(file);
  return circles;
}

Deno.test("imports follow the table in ARCHITECTURE.md, without circles", async () => {
  const arrows = readArrows(await Deno.readTextFile(join(ROOT, "ARCHITECTURE.md")));
  assertEquals(faultsOf(await readImports(), arrows), []);
});

Deno.test("the table in ARCHITECTURE.md names each folder of core, and no other", async () => {
  const arrows = readArrows(await Deno.readTextFile(join(ROOT, "ARCHITECTURE.md")));
  const places = new Set([...(await readImports()).keys()].map(placeOf));
  places.delete("core");
  assertEquals([...arrows.keys()].toSorted(), [...places].toSorted());
});

Deno.test("a planted arrow that the table lacks is found", async () => {
  const arrows = readArrows(await Deno.readTextFile(join(ROOT, "ARCHITECTURE.md")));
  const planted = new Map(await readImports());
  planted.set("core/http/planted.ts", ["core/storage/overlay.ts"]);
  planted.set("main.ts", ["core/storage/overlay.ts"]);
  assertEquals(faultsOf(planted, arrows), [
    "main.ts imports core/storage/overlay.ts: main -> storage",
    "core/http/planted.ts imports core/storage/overlay.ts: http -> storage",
  ]);
});

Deno.test("a planted circle is found, also of imports for types", () => {
  const text = 'import type { B } from "./b.ts";\n/** @typedef {import("./c.js").C} C */';
  const imports = new Map([
    ["core/system/a.ts", importsOf("core/system/a.ts", text)],
    ["core/system/b.ts", ["core/system/a.ts"]],
    ["core/system/c.js", []],
  ]);
  assertEquals(faultsOf(imports, new Map()), [
    "a circle: core/system/a.ts -> core/system/b.ts -> core/system/a.ts",
  ]);
  assertEquals(imports.get("core/system/a.ts"), ["core/system/b.ts", "core/system/c.js"]);
});

Deno.test("too many files at the root of core are found", () => {
  const names = Array.from({ length: MOST_SHARED_FILES + 1 }, (_, i) => `core/shared_${i}.ts`);
  const [fault = ""] = faultsOf(new Map(names.map((name) => [name, []])), new Map());
  assertMatch(fault, /^core has 21 files at its root$/);
});
