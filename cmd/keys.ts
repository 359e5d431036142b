/** `kvs keys`: the keys of all servers, in order. */
import { displayJson, displayKey } from "../core/key.ts";
import { type Kvs } from "../core/client/kvs.ts";
import { giveUp } from "./permissions.ts";
import { type Command, textOption } from "./args.ts";
import { writeOut } from "./screen.ts";
import {
  EXIT,
  JSON_OUTPUT,
  positionals,
  STORE_NOTES,
  STORE_OPTIONS,
  withStore,
} from "./key_commands.ts";

const PREFIX = textOption("prefix", "TEXT", "Print only keys that start with this text");

/** The number of lines that are written at once. */
const LINES = 1000;

export const keys: Command = {
  name: "keys",
  summary: "Prints the keys of all servers in order, each once, without stale copies.",
  usage: "[options]",
  examples: [
    "kvs keys --servers 'server-{0..2}.server'",
    "kvs keys --prefix user/ | wc -l",
    "kvs keys --json   # without it, control characters of keys are percent-encoded",
  ],
  notes: STORE_NOTES,
  options: [...STORE_OPTIONS, PREFIX, JSON_OUTPUT],
  async run(args) {
    positionals(args, []);
    return await withStore(args, async (store) => {
      await giveUp("run", "read", "write", "env", "sys", "ffi");
      await printKeys(
        store,
        args.get(PREFIX),
        args.get(JSON_OUTPUT) ? jsonLine(store) : displayKey,
      );
      return EXIT.ok;
    });
  },
};

async function printKeys(
  store: Kvs,
  prefix: string | undefined,
  format: (key: string) => string,
): Promise<void> {
  const encoder = new TextEncoder();
  let lines: string[] = [];
  const flush = async () => {
    await writeOut(encoder.encode(lines.join("")));
    lines = [];
  };
  for await (const key of store.keys({ prefix })) {
    lines.push(format(key) + "\n");
    if (lines.length === LINES) await flush();
  }
  await flush();
}

function jsonLine(store: Kvs): (key: string) => string {
  return (key) => displayJson({ key, server: store.ownerOf(key).server.name });
}
