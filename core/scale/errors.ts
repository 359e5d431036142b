/** What ends one look at a cluster, and not the run. */
import { KvsError } from "../errors.ts";

/** Thrown when a server has a newer layout than the mover: somebody else goes on with the cluster. */
export class OvertakenError extends KvsError {
  constructor(epoch: number) {
    super(`Somebody else made the layout of epoch ${epoch} meanwhile`);
  }
}
