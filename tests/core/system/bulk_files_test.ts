/** Many small files on a thread of their own: failures are told, and nothing is left of them. */
import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { join } from "@std/path";
import { openBulkFiles } from "../../../core/system/bulk_files.ts";
import type { BulkFiles, NewFile } from "../../../core/system/files.ts";
import { openJournalStore } from "../../../core/storage/open_journal_store.ts";
import { Value } from "../../../core/value.ts";
import { DEADLINE_MS, until } from "../http/testing.ts";

const ignore = Deno.build.os !== "linux";
const MANY = 100;
const SECOND = new Uint8Array([2]);

/** Runs `test` with a file system, closed afterwards, in a folder of its own. */
async function withFolder(
  test: (folder: string, fileSystem: BulkFiles) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const fileSystem = openBulkFiles(folder, MANY);
    assert(fileSystem !== undefined);
    try {
      await test(folder, fileSystem);
    } finally {
      fileSystem.close();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs `test` while the thread of every file system that is opened runs `code` instead. */
async function withThread(code: string, test: () => Promise<void>): Promise<void> {
  const { Worker } = globalThis;
  globalThis.Worker = class extends Worker {
    constructor() {
      super(`data:application/javascript,${encodeURIComponent(code)}`, { type: "module" });
    }
  };
  try {
    await test();
  } finally {
    globalThis.Worker = Worker;
  }
}

function file(path: string, text: string): NewFile {
  const bytes = new TextEncoder().encode(text);
  return { path, size: bytes.length, copyTo: (into) => into.set(bytes) };
}

function names(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
}

Deno.test({
  name: "openBulkFiles() is not for few files, nor for a folder that is not there",
  ignore,
  fn() {
    assertEquals(openBulkFiles("/", 1), undefined);
    assertEquals(openBulkFiles("/not/there", MANY), undefined);
  },
});

Deno.test({
  name: "FileSystem does what it can, and tells what it could not by index",
  ignore,
  async fn() {
    await withFolder(async (folder, fileSystem) => {
      const path = (name: string) => join(folder, name);
      await Deno.writeTextFile(path("old"), "old");
      await Deno.mkdir(path("folder/in the way"), { recursive: true });
      const made = await fileSystem.create([
        file(path("a"), "one"),
        file(path("old"), "new"),
        file(path("empty"), ""),
        file(path("not/there"), "lost"),
        file(path("b"), "two"),
      ]);
      assertEquals([...made], [1, 3]);
      await fileSystem.flush();
      const renamed = await fileSystem.rename([
        [path("a"), path("folder")],
        [path("nothing"), path("c")],
        [path("b"), path("old")],
      ]);
      assertEquals([...renamed], [0, 1]);
      assertEquals(await Deno.readTextFile(path("a")), "one");
      assertEquals(await Deno.readTextFile(path("old")), "two");
      const removed = await fileSystem.remove([path("nothing"), path("folder"), path("a")]);
      assertEquals([...removed], [1]);
      assertEquals(names(folder), ["empty", "folder", "old"]);
    });
  },
});

Deno.test({
  name: "FileSystem leaves no part of a file for which there was no room",
  ignore,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const module = new URL("../../../core/system/bulk_files.ts", import.meta.url).href;
      const program = `import { openBulkFiles } from "${module}";
        const files = ["small", "large", "last"].map((name) => {
          const bytes = new Uint8Array(name === "large" ? 200_000_000 : 10);
          return { path: "${folder}/" + name, size: bytes.length, copyTo() {} };
        });
        const fileSystem = openBulkFiles("${folder}", 100);
        console.log(JSON.stringify([...await fileSystem.create(files)]));
        fileSystem.close();`;
      // Files of 64 MiB at most: more is EFBIG.
      const script = `trap "" XFSZ; ulimit -f 131072; exec "$0" eval "$1"`;
      const { stdout, stderr } = await new Deno.Command("sh", {
        args: ["-c", script, Deno.execPath(), program],
        cwd: new URL("../../..", import.meta.url),
        stdin: "null",
      }).output();
      const said = new TextDecoder().decode(stdout);
      assertEquals(said, "[1]\n", new TextDecoder().decode(stderr));
      assertEquals(names(folder), ["last", "small"]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "FileSystem tells of all as failed when its thread dies, and leaves no new file behind",
  ignore,
  async fn() {
    const code = `self.onmessage = ({ data }) => {
      Deno.writeFileSync(data.paths[0], new Uint8Array(1));
      throw new Error("dies");
    };`;
    await withThread(code, async () => {
      await withFolder(async (folder, fileSystem) => {
        const files = [file(join(folder, "a"), "one"), file(join(folder, "b"), "two")];
        for (let i = 0; i < 2; i++) {
          const failed = await deadline(fileSystem.create(files), DEADLINE_MS);
          assertEquals([...failed], [0, 1]);
          assertEquals(names(folder), []);
        }
        await Deno.writeTextFile(join(folder, "a"), "one");
        const renaming = fileSystem.rename([[join(folder, "a"), join(folder, "b")]]);
        assertEquals([...await deadline(renaming, DEADLINE_MS)], [0]);
        const removing = fileSystem.remove([join(folder, "a")]);
        assertEquals([...await deadline(removing, DEADLINE_MS)], [0]);
        assertEquals(names(folder), ["a"]);
        await fileSystem.flush();
      });
    });
  },
});

Deno.test({
  name: "FileSystem.close() ends what is under way",
  ignore,
  async fn() {
    await withThread("self.onmessage = () => {};", async () => {
      const fileSystem = openBulkFiles("/", MANY);
      const removing = fileSystem?.remove(["/not/there"]);
      fileSystem?.close();
      const failed = await deadline(Promise.resolve(removing), DEADLINE_MS);
      assertEquals(failed?.size, 1);
    });
  },
});

for (
  const [how, code] of [
    ["never begins", "this is no program"],
    ["dies at its first job", "self.onmessage = () => { throw new Error('dies'); };"],
    [
      "dies in the middle of its work",
      `self.onmessage = ({ data }) => {
        if (data.kind === "create") {
          let at = 0;
          data.paths.forEach((path, index) => {
            const end = at + data.content.sizes[index];
            Deno.writeFileSync(path, data.content.bytes.subarray(at, end), { createNew: true });
            at = end;
          });
          self.postMessage([]);
        } else {
          if (data.kind === "rename") Deno.renameSync(data.paths[0], data.to[0]);
          throw new Error("dies");
        }
      };`,
    ],
  ] as const
) {
  Deno.test({
    name: `JournalStore makes and removes every file where the thread ${how}`,
    ignore,
    async fn() {
      const folder = await Deno.makeTempDir();
      const fatal: unknown[] = [];
      try {
        await withThread(code, async () => {
          const store = await openJournalStore(folder, {
            log() {},
            onFatal: (error) => fatal.push(error),
          });
          const keys = Array.from({ length: MANY }, (_, i) => `k${i}`);
          await Promise.all(keys.map((key) => store.set(key, new Value(SECOND))));
          await Promise.all(keys.slice(MANY / 2).map((key) => store.delete(key)));
          // A checkpoint that failed is tried again: closing would not wait for that.
          await until(() => names(folder).length === 1 + MANY / 2, "the files");
          await store.close();
          assertEquals(names(folder), [".kvs", ...keys.slice(0, MANY / 2)].sort());
          for (const key of keys.slice(0, MANY / 2)) {
            assertEquals(await Deno.readFile(join(folder, key)), SECOND);
          }
          const left = names(join(folder, ".kvs")).filter((name) => name.startsWith("save-"));
          assertEquals(left, []);
        });
        assertEquals(fatal, []);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

Deno.test({
  name:
    "openBulkFiles() begins no thread that the process has no open files for: that would end it",
  ignore,
  async fn() {
    const module = new URL("../../../core/system/bulk_files.ts", import.meta.url);
    const code = `
      const { openBulkFiles } = await import(${JSON.stringify(module.href)});
      openBulkFiles(".", 1);
      // What the first call loads is there, and four files are all that can be opened.
      openBulkFiles(".", ${MANY})?.close();
      const opened = [];
      try {
        while (true) opened.push(Deno.openSync("."));
      } catch {
        for (let i = 0; i < 4; i++) opened.pop().close();
        console.log(openBulkFiles(".", ${MANY}) === undefined);
      }
      Deno.exit(0);
    `;
    const { success, stdout } = await new Deno.Command("sh", {
      args: ["-c", 'ulimit -n 100 && exec "$0" "$@"', Deno.execPath(), "eval", "--no-check", code],
      stderr: "null",
    }).output();
    assertEquals([success, new TextDecoder().decode(stdout)], [true, "true\n"]);
  },
});
