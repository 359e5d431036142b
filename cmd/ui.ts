/** `--ui`, the address of the live page, which `kvs client` and `kvs cluster` share. */
import { VERSION } from "../core/version.ts";
import { messageOf, StartError, UsageError } from "../core/errors.ts";
import { type LivePageOptions } from "../core/page/page.ts";
import { PageAssets } from "../core/page/assets.ts";
import { type Args, type Option, parseCount } from "./args.ts";

/** The address of the page. */
interface UiAddress {
  readonly hostname: string;
  readonly port: number;
}

const LOOPBACK = "127.0.0.1";

/** Addresses that only programs on this machine reach. */
const LOCAL = /^(localhost|127\..*|::1)$/;

export const UI: Option<UiAddress | undefined> = {
  name: "ui",
  placeholder: "[HOST:]PORT",
  help:
    `Serve the live page on this address: HOST is ${LOOPBACK} unless given, PORT 0 picks a free port`,
  shownDefault: "none",
  fallback: undefined,
  parse(text) {
    const match = /^(?:(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):)?(\d+)$/.exec(text);
    if (match === null) throw new UsageError(`expected PORT or HOST:PORT, received "${text}"`);
    const hostname = (match[1] ?? LOOPBACK).replaceAll(/[[\]]/g, "");
    return { hostname, port: parseCount(match[2] ?? "", 0, 65535) };
  },
};

/** The listener and the files of a page that is not served yet. */
export interface OpenedUi {
  readonly listener: Deno.TcpListener;
  readonly page: Pick<LivePageOptions, "version" | "assets" | "hostname">;
  /** Lines that tell the user the address and, if others can reach it, a warning. */
  readonly lines: readonly string[];
}

/**
 * Listens for the page, if the user wants one. To be called while the role may still read files.
 *
 * @param power What a viewer of the page can do, for a warning.
 * @throws {StartError} If the address cannot be listened on.
 */
export async function openUi(args: Args, power: string): Promise<OpenedUi | undefined> {
  const address = args.get(UI);
  if (address === undefined) return undefined;
  const { hostname } = address;
  const listener = listen(address);
  const shown = hostname.includes(":") ? `[${hostname}]` : hostname;
  const lines = [`live page: http://${shown}:${listener.addr.port}/`];
  if (!LOCAL.test(hostname)) {
    lines.push(`anyone who can reach ${shown}:${listener.addr.port} can ${power}`);
  }
  return {
    listener,
    page: { version: VERSION, assets: await PageAssets.load(), hostname },
    lines,
  };
}

function listen({ hostname, port }: UiAddress): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port });
  } catch (error) {
    const why = error instanceof Deno.errors.AddrInUse
      ? "it is taken by another program"
      : messageOf(error);
    throw new StartError(`Cannot serve the page on ${hostname}:${port}: ${why}`, { cause: error });
  }
}
