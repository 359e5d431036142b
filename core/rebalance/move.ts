/** The phase that copies each key that moves to its target and reads it back. */
import { signsOf } from "./foreign_writes.ts";
import { mapInOrder } from "./map_in_order.ts";
import { type BatchOutcome, type Move } from "./mover.ts";
import { moveName } from "./plan.ts";
import { type RunContext } from "./run_context.ts";
import { noticeClients, type Survey } from "./survey.ts";

/** Moves all keys. What was done before a failure is counted. @throws {RebalanceError} If a key cannot be moved. */
export async function moveKeys(run: RunContext, survey: Survey): Promise<void> {
  const { details, endpoints, layout, signal } = run.options;
  const id = crypto.randomUUID();
  await Promise.all(
    endpoints.map((endpoint, index) =>
      endpoint.beginMove({ name: moveName(layout, index), run: id })
    ),
  );
  noticeClients(run, signsOf(survey.counts, await run.counts()));
  if (!details) return await moveAll(run, survey, run.batches());
  // Details are told server by server, in the server's own order.
  for (const server of new Set(layout.asIs)) {
    await moveAll(run, survey, run.batchesFrom(server, ({ from, to }) => from !== to));
    if (signal.aborted) return;
  }
}

async function moveAll(
  run: RunContext,
  survey: Survey,
  batches: AsyncIterable<readonly Move[]>,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([run.pool.signal, failed.signal]);
  let failure: BatchOutcome["failure"];
  const work = async (batch: readonly Move[]) => {
    const outcome = await run.mover.moveMany(batch);
    if (outcome.failure !== undefined) failed.abort();
    return outcome;
  };
  for await (const batch of mapInOrder(batches, work, { ...run.pool, signal })) {
    count(run, survey, batch);
    failure ??= batch.failure;
  }
  if (failure !== undefined) throw failure.error;
}

function count(run: RunContext, { planned }: Survey, { outcomes }: BatchOutcome): void {
  const { summary } = run;
  let bytes = 0;
  for (const outcome of outcomes) {
    run.countSeen(1);
    if (outcome === "there") {
      summary.inPlace++;
    } else if (outcome === "gone") {
      summary.gone++;
    } else if (outcome.kind === "newer") {
      summary.newer++;
      run.options.onEvent(outcome);
    } else {
      summary.moved++;
      bytes += outcome.bytes;
      run.options.onEvent(outcome);
    }
  }
  summary.bytes += bytes;
  run.batcher.learn(outcomes.length, bytes);
  const done = planned - summary.left;
  run.progress("move", done, Math.max(done, planned));
}
