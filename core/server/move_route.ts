/** `PUT /v1/move`, and the run of a move in the query of its writes. */
import { STATUS_CODE } from "@std/http/status";
import { InvalidMoveError, InvalidQueryError } from "../errors.ts";
import { jsonAnswer } from "../http/answers.ts";
import { type HttpRequest, type HttpResponse } from "../http/types.ts";
import { isMoveStep, isObject, MOVE_QUERY, type MoveRun, type MoveStep } from "../protocol.ts";
import { type LastMove } from "./last_move.ts";
import { parseQuery, refuseQuery } from "./query.ts";

/** The name of a move, or of a run: one line of 1 to 200 characters. */
const NAME = /^[!-~](?:[ -~]{0,198}[!-~])?$/;

/** The most bytes of a step of a move. */
const MAX_STEP_BYTES = 1024;

/** Does nothing: a client's write belongs to no run. */
const NO_CHECK = () => {};

/**
 * What a write has to pass right before it takes effect. It throws an AnotherMoveError if the write belongs to a run
 * and another run has begun since.
 *
 * @throws {InvalidQueryError} If the query holds anything else.
 */
export function writeCheck({ query }: HttpRequest, last: LastMove): () => void {
  if (query === "") return NO_CHECK;
  const run = parseQuery(query, [MOVE_QUERY]).get(MOVE_QUERY);
  if (run === undefined) return NO_CHECK;
  if (NAME.test(run)) return () => last.checkRun(run);
  throw new InvalidQueryError(`Invalid query: ${MOVE_QUERY} names no run of a move: "${query}"`);
}

/**
 * `PUT /v1/move`: a step of a run, as `{"move":"NAME","run":"UUID","step":"begin"}`; 200 once the step is durable.
 *
 * @throws {InvalidMoveError} If the body is no step.
 * @throws {AnotherMoveError} If another run has begun since the run that is to be completed.
 */
export async function putMove(last: LastMove, request: HttpRequest): Promise<HttpResponse> {
  refuseQuery(request.query);
  const bytes = await request.body?.bytes(MAX_STEP_BYTES) ?? new Uint8Array();
  const { name, run, step } = parseStep(new TextDecoder().decode(bytes));
  await last.take({ name, run }, step);
  return jsonAnswer(STATUS_CODE.OK, { move: name, run, step });
}

function parseStep(text: string): MoveRun & { readonly step: MoveStep } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new InvalidMoveError("Invalid step of a move: the body is not JSON");
  }
  if (isObject(parsed)) {
    const { move: name, run, step, ...unknown } = parsed;
    if (isName(name) && isName(run) && isMoveStep(step) && Object.keys(unknown).length === 0) {
      return { name, run, step };
    }
  }
  throw new InvalidMoveError(
    'Invalid step of a move: expected only "move" and "run", printable ASCII, and "step" begin or complete',
  );
}

function isName(value: unknown): value is string {
  return typeof value === "string" && NAME.test(value);
}
