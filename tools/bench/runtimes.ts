/** The Deno that runs the source and the Deno that dist/kvs was compiled with. */
import { fromFileUrl } from "@std/path";
import { npmToolchain } from "../npm_toolchain.ts";

/** A Deno. */
export interface Runtime {
  readonly version: string;
  /** Its program; `undefined` where only programs compiled with it are here. */
  readonly deno: string | undefined;
}

export const KVS_BINARY = fromFileUrl(new URL("../../dist/kvs", import.meta.url));
export const KVS_SOURCE = fromFileUrl(new URL("../../main.ts", import.meta.url));

/** The version inside a dist/kvs that is not there. */
export const NO_VERSION = "none";

/** The Deno that runs this. */
export const SOURCE: Runtime = { version: Deno.version.deno, deno: Deno.execPath() };

/** The Deno inside dist/kvs. */
export const COMPILED: Runtime = await compiledRuntime();

async function compiledRuntime(): Promise<Runtime> {
  const version = await versionInside(KVS_BINARY);
  if (version === SOURCE.version) return SOURCE;
  if (version === NO_VERSION) return { version, deno: undefined };
  // As tools/compile.ts does where the base binary cannot be downloaded. It is cached since then.
  const toolchain = await npmToolchain().catch(() => undefined);
  return { version, deno: toolchain?.version === version ? toolchain.deno : undefined };
}

/** Every Deno carries its version as the name that fetch gives to servers. */
async function versionInside(binary: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(binary);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return NO_VERSION;
  }
  const match = /Deno\/(\d+\.\d+\.\d+)/.exec(new TextDecoder("latin1").decode(bytes));
  if (match?.[1] === undefined) throw new Error("dist/kvs does not say its Deno's version");
  return match[1];
}
