/** Which kvs this is. */
import config from "../deno.json" with { type: "json" };

/** The version, as `--version` tells it. */
export const VERSION: string = config.version;
