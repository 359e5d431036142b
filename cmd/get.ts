/** `kvs get`: a value to stdout, byte for byte. */
import { encodeBase64 } from "@std/encoding/base64";
import { displayJson } from "../core/key.ts";
import { giveUp } from "./permissions.ts";
import { type Kvs } from "../core/client/kvs.ts";
import { type Command } from "./args.ts";
import { writeLine, writeOut } from "./screen.ts";
import {
  EXIT,
  JSON_OUTPUT,
  positionals,
  STORE_NOTES,
  STORE_OPTIONS,
  tellNotFound,
  withStore,
} from "./key_commands.ts";

export const get: Command = {
  name: "get",
  summary: "Prints the value of a key, byte for byte.",
  usage: "KEY [options]",
  examples: [
    "kvs get greeting --servers 'server-{0..2}.server'",
    "KVS_SERVERS=localhost:8000,localhost:8001 kvs get photo > photo.jpg",
    "kvs get settings --json | jq .etag",
  ],
  notes: STORE_NOTES,
  options: [...STORE_OPTIONS, JSON_OUTPUT],
  async run(args) {
    const [key = ""] = positionals(args, ["KEY"]);
    return await withStore(args, async (store) => {
      await giveUp("run", "read", "write", "env", "sys", "ffi");
      return args.get(JSON_OUTPUT) ? await printJson(store, key) : await printBytes(store, key);
    });
  },
};

async function printBytes(store: Kvs, key: string): Promise<number> {
  const value = await store.getStream(key);
  if (value === undefined) return tellNotFound(key);
  for await (const chunk of value.body) await writeOut(chunk);
  return EXIT.ok;
}

async function printJson(store: Kvs, key: string): Promise<number> {
  const value = await store.get(key);
  if (value === undefined) return tellNotFound(key);
  const { bytes, contentType, etag } = value;
  const { server } = store.ownerOf(key);
  const facts = { key, server: server.name, size: bytes.length, contentType, etag };
  writeLine(Deno.stdout, displayJson({ ...facts, ...textOrBase64(bytes) }));
  return EXIT.ok;
}

/** The value as in a batch: `value` if it is text, else `base64`. */
function textOrBase64(bytes: Uint8Array): { value: string } | { base64: string } {
  try {
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return { value: utf8.decode(bytes) };
  } catch {
    return { base64: encodeBase64(bytes) };
  }
}
