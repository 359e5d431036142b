/** `kvs where`: the server that a key belongs to. */
import { checkKey, displayJson, toSegment } from "../core/key.ts";
import { giveUp } from "./permissions.ts";
import { V1_KEYS } from "../core/protocol.ts";
import { type Command } from "./args.ts";
import { writeLine } from "./screen.ts";
import {
  EXIT,
  JSON_OUTPUT,
  positionals,
  STORE_NOTES,
  STORE_OPTIONS,
  withStore,
} from "./key_commands.ts";

export const where: Command = {
  name: "where",
  summary:
    "Prints the server that a key belongs to, whether there is such a key or not. Asks for the layout only.",
  usage: "KEY [options]",
  examples: [
    "kvs where greeting --servers 'server-{0..2}.server' --placement jump",
    'curl "$(kvs where greeting --json | jq -r .url)"',
  ],
  notes: STORE_NOTES,
  options: [...STORE_OPTIONS, JSON_OUTPUT],
  async run(args) {
    const key = checkKey(positionals(args, ["KEY"])[0] ?? "");
    return await withStore(args, async (store) => {
      await giveUp("run", "read", "write", "env", "sys", "ffi");
      await store.discover();
      const { server: { name, origin }, index } = store.ownerOf(key);
      const servers = store.servers.length;
      const placement = store.placement;
      const url = `${origin}${V1_KEYS}/${toSegment(key)}`;
      writeLine(
        Deno.stdout,
        args.get(JSON_OUTPUT)
          ? displayJson({ key, server: name, index, servers, placement, url })
          : `${name} (index ${index} of ${servers}, placement ${placement})`,
      );
      return EXIT.ok;
    });
  },
};
