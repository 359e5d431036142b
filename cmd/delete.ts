/** `kvs delete`: a key and its value. */
import { displayJson } from "../core/key.ts";
import { giveUp } from "./permissions.ts";
import { type Command, textOption } from "./args.ts";
import { writeLine } from "./screen.ts";
import {
  EXIT,
  JSON_OUTPUT,
  positionals,
  STORE_NOTES,
  STORE_OPTIONS,
  tellNotFound,
  withStore,
} from "./key_commands.ts";

const IF_MATCH = textOption("if-match", "ETAG", "Delete only if the present value has this ETag");

export const deleteKey: Command = {
  name: "delete",
  summary: "Deletes a key.",
  usage: "KEY [options]",
  examples: [
    "kvs delete greeting --servers 'server-{0..2}.server'",
    "kvs delete lock --if-match '\"9f86d081884c7d65\"'",
  ],
  notes: STORE_NOTES,
  options: [...STORE_OPTIONS, IF_MATCH, JSON_OUTPUT],
  async run(args) {
    const [key = ""] = positionals(args, ["KEY"]);
    return await withStore(args, async (store) => {
      await giveUp("run", "read", "write", "env", "sys", "ffi");
      if (!await store.delete(key, { ifMatch: args.get(IF_MATCH) })) return tellNotFound(key);
      if (args.get(JSON_OUTPUT)) {
        const { server } = store.ownerOf(key);
        writeLine(Deno.stdout, displayJson({ key, server: server.name, deleted: true }));
      }
      return EXIT.ok;
    });
  },
};
