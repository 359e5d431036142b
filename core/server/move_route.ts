/** `PUT /v1/move`, and the name of a move in the query of its writes. */
import { STATUS_CODE } from "@std/http/status";
import { InvalidMoveError, InvalidQueryError } from "../errors.ts";
import { jsonAnswer } from "../http/answers.ts";
import { type HttpRequest, type HttpResponse } from "../http/types.ts";
import { isMoveStep, isObject, MOVE_QUERY, type MoveStep } from "../protocol.ts";
import { type MoveWatch } from "./move_watch.ts";
import { parseQuery } from "./query.ts";

/** The name of a move: one line of 1 to 200 characters. */
const MOVE_NAME = /^[!-~](?:[ -~]{0,198}[!-~])?$/;

/** The most bytes of a step of a move. */
const MAX_STEP_BYTES = 1024;

/**
 * The move that a write belongs to; `undefined` for a client's write.
 *
 * @throws {InvalidQueryError} If the query holds anything else.
 */
export function moveOf({ query }: HttpRequest): string | undefined {
  if (query === "") return undefined;
  const move = parseQuery(query, [MOVE_QUERY]).get(MOVE_QUERY);
  if (move === undefined || MOVE_NAME.test(move)) return move;
  throw new InvalidQueryError(`Invalid query: ${MOVE_QUERY} names no move: "${query}"`);
}

/**
 * `PUT /v1/move`: a step of a move, as `{"move":"NAME","step":"begin"}`; 200 once the step is durable.
 *
 * @throws {InvalidMoveError} If the body is no step.
 * @throws {AnotherMoveError} If another move has begun since the move that is to be completed.
 */
export async function putMove(moves: MoveWatch, request: HttpRequest): Promise<HttpResponse> {
  const bytes = await request.body?.bytes(MAX_STEP_BYTES) ?? new Uint8Array();
  const { move, step } = parseStep(new TextDecoder().decode(bytes));
  await moves.take(move, step);
  return jsonAnswer(STATUS_CODE.OK, { move, step });
}

function parseStep(text: string): { readonly move: string; readonly step: MoveStep } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new InvalidMoveError("Invalid step of a move: the body is not JSON");
  }
  if (isObject(parsed) && typeof parsed.move === "string" && MOVE_NAME.test(parsed.move)) {
    const { move, step } = parsed;
    if (isMoveStep(step)) return { move, step };
  }
  throw new InvalidMoveError(
    'Invalid step of a move: expected "move", printable ASCII, and "step" begin, restart or complete',
  );
}
