/** `kvs lifecycle`: the Pod's lifecycle hooks. */
import { UsageError } from "../core/errors.ts";
import { keepFilesPrivate } from "../core/system/process.ts";
import { poststart, prestop } from "../core/server/hooks.ts";
import { type Command } from "./args.ts";
import { writeLine } from "./screen.ts";

const DEFAULT_DATA_DIR = "/var/data";

export const lifecycle: Command = {
  name: "lifecycle",
  summary: "A Pod's lifecycle hooks: mark its shard as shutting down, or clear the mark.",
  usage: `prestop|poststart [DATA_DIR]`,
  examples: ["kvs lifecycle prestop", "kvs lifecycle poststart /var/data"],
  options: [],
  async run(args) {
    const [hook, dataDir = DEFAULT_DATA_DIR, ...rest] = args.positionals;
    if (rest.length > 0) throw new UsageError(`Unexpected argument: ${rest[0]}`);
    switch (hook) {
      case "prestop":
        await keepFilesPrivate(dataDir);
        writeLine(Deno.stdout, await prestop(dataDir));
        return 0;
      case "poststart":
        writeLine(Deno.stdout, await poststart(dataDir));
        return 0;
      default:
        throw new UsageError(
          hook === undefined ? "Missing hook: prestop or poststart" : `Unknown hook: ${hook}`,
        );
    }
  },
};
