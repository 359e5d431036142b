/**
 * How V8 is to look after memory: part of the compiled binary, and of what the bench runs from source.
 *
 * V8 lets its young generation grow to 64 MiB and more before it looks for what is alive. With a bound of 8 MiB
 * rebalance stays below 150 MiB however many keys there are, and servers take less as well; half of it costs
 * servers a tenth of their speed (measured).
 *
 * It also gives memory back when it has nothing to do, and begins small again: after a rest saves were a tenth
 * slower and their p99 twice as high, and the process was not smaller (measured; on Deno 2.9 a third slower).
 *
 * And it marks what is alive by a chain of small tasks, which the runtime does in one go: the event loop stands
 * still for 12 to 30 ms each time. Without them the marking is left to the other threads, and to steps when
 * memory is allocated (measured: p99 of saves 21 to 11 ms).
 */
export const V8_FLAGS =
  "--v8-flags=--max-semi-space-size=8,--no-memory-reducer,--no-incremental-marking-task";
