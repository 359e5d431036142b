/** Finding out what servers speak, at the start of a rebalance. */
import { KvsError, RebalanceError, RemoteError } from "../errors.ts";
import { BookEndpoint } from "./book.ts";
import { type Endpoint, type EndpointOptions } from "./endpoint.ts";
import { NativeEndpoint } from "./native.ts";
import { Patience } from "./pace.ts";
import { Remote } from "../client/remote.ts";
import { type ServerAddress } from "../client/server_list.ts";

/**
 * Finds out what each server speaks. All of them are asked at once; changes nothing.
 *
 * @throws {RebalanceError} If a server cannot be reached or is shutting down: the first one in the list.
 */
export async function openEndpoints(
  servers: readonly ServerAddress[],
  options: EndpointOptions,
): Promise<readonly Endpoint[]> {
  const opened = await Promise.allSettled(
    servers.map((server) => openEndpoint(new Remote(server, options), new Patience(options))),
  );
  return opened.map((result) => {
    if (result.status === "fulfilled") return result.value;
    const cause: unknown = result.reason;
    if (!(cause instanceof KvsError)) throw cause;
    throw new RebalanceError(`${cause.message}; nothing was changed`, { cause });
  });
}

async function openEndpoint(remote: Remote, patience: Patience): Promise<Endpoint> {
  // Twice, since one connection that was cut must not cost every value its content type.
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await remote.page(undefined, 1);
      return new NativeEndpoint(remote, patience);
    } catch (error) {
      // Whatever else a server makes of a route that it does not know, the book routes decide.
      if (!(error instanceof RemoteError) || error.timedOut) throw error;
    }
  }
  await remote.allKeys();
  return new BookEndpoint(remote, patience);
}
