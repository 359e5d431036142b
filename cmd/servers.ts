/** Server lists on the command line. */
import { discoverServers } from "../core/client/discovery.ts";
import { parseServerList, type ServerAddress } from "../core/client/server_list.ts";
import { schemeOf } from "./access.ts";
import { type Args, DNS } from "./args.ts";
import { tell } from "./screen.ts";

/**
 * Reads a server list. The servers behind `srv:` items and braces are looked up once, now, and told on
 * stderr in one line.
 *
 * @throws {UsageError} If the text is no server list.
 * @throws {DiscoveryError} If a `srv:` item cannot be resolved.
 */
export async function readServers(
  text: string,
  what: string,
  args: Args,
): Promise<readonly ServerAddress[]> {
  const scheme = schemeOf(args);
  const list = await discoverServers(text, what, { dns: args.get(DNS), scheme });
  const servers = parseServerList(list, what, scheme);
  if (/srv:|[{]/.test(text)) tell(`${text} = ${list}`);
  return servers;
}
