/** Opens the servers of a run, by the routes that each of them speaks. */
import { Remote } from "../client/remote.ts";
import { type ServerAddress } from "../client/server_list.ts";
import { KvsError, RebalanceError, RemoteError } from "../errors.ts";
import { BookEndpoint } from "./book.ts";
import { type Endpoint, type EndpointOptions } from "./endpoint.ts";
import { NativeEndpoint } from "./native.ts";
import { Patience } from "./patience.ts";

/** Thrown when a server belongs to a cluster with a layout, whose keys only `kvs scale` moves. */
class LayoutError extends KvsError {
  constructor(server: string) {
    super(
      `${server} belongs to a cluster with a layout: scale it by kvs scale, while its clients write`,
    );
  }
}

/**
 * Asks all servers at once which routes they speak; changes nothing.
 *
 * @throws {RebalanceError} If servers cannot be reached, are shutting down, or have a layout. It names the first of
 * them in the list.
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
  // Twice: over the book routes, which one cut connection must not lead to, values lose their content types.
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const { epoch } = await remote.page(undefined, 1);
      if (epoch !== undefined) throw new LayoutError(remote.server.name);
      return new NativeEndpoint(remote, patience);
    } catch (error) {
      // A server may answer anything on a route that it does not know, so the book routes decide.
      if (!(error instanceof RemoteError) || error.timedOut) throw error;
    }
  }
  await remote.allKeys();
  return new BookEndpoint(remote, patience);
}
