/**
 * The acts of the tour: what each step does, what the client's rows have to show then, and how the status of each
 * letter may change from row to row.
 */
import { type Placement } from "../placement.ts";
import { LETTERS } from "../client/probe.ts";
import { type AllowedHistories } from "./tour_histories.ts";

/** What the acts do to the cluster. */
export interface Stage {
  /** Asks for that many servers; does not wait. */
  scale(replicas: number): void;
  /** Lets the controller create the next Pod that is missing. */
  admit(): void;
  /** Deletes a Pod; does not wait. */
  delete(name: string): void;
  /** Deletes all Pods at the same time; does not wait. */
  deleteAll(): void;
  /** Runs `kvs rebalance` from the first `asIs` servers to the first `toBe`. */
  rebalance(asIs: number, toBe: number): Promise<void>;
  /** Resolves when all wanted servers are ready and no others run. */
  settled(): Promise<void>;
}

/** What is done, and the rows that come of it. */
export interface Step {
  readonly does?: (stage: Stage) => Promise<void> | void;
  /** The 26 statuses of the rows at the end of the step. */
  readonly shows: string;
  /** How many such rows, one after the other, end the step. */
  readonly rows: number;
}

/** An act of the tour. */
export interface Act {
  readonly title: string;
  /** Lines that tell the same act on Kubernetes, and what the rows are going to show. */
  readonly text: readonly string[];
  /** How many servers are on the client's list. */
  readonly servers: number;
  readonly readonly: boolean;
  readonly allowed: (letter: string) => AllowedHistories;
  readonly steps: readonly Step[];
}

/** The number of servers that the tour begins and ends with. */
export const TOUR_REPLICAS = 3;

const ALL_HIT = "h".repeat(LETTERS.length);

/** A letter whose server goes and comes back with its disk; the server answers 503 while an old marker is there. */
const DELETED: AllowedHistories = ["h5.h", "h5.5h"];

/** Returns the acts in order. */
export function tourActs(placement: Placement): readonly Act[] {
  /** The row in which each letter shows the status of its server, for three servers. */
  const byServer = (statuses: string) =>
    LETTERS.map((letter) => statuses.charAt(placement(letter, TOUR_REPLICAS))).join("");
  const stays = (letter: string) => placement(letter, 2) === placement(letter, 3);
  const leaves = (letter: string) => placement(letter, 3) === 2;
  const eachLetter = (status: (letter: string) => string) => LETTERS.map(status).join("");

  return [
    {
      title: "a client and no servers",
      text: [
        "The client knows three servers by name and asks each of them for its letters, row by row.",
        "No server is there: . means that the server cannot be reached.",
      ],
      servers: 3,
      readonly: false,
      allowed: () => ["."],
      steps: [{ shows: byServer("..."), rows: 3 }],
    },
    {
      title: "the servers come up in order",
      text: [
        "kubectl apply -f server-disk.yaml: a StatefulSet creates server-0, waits until it is ready,",
        "then server-1, then server-2. Each serves a third of the letters: w means written, h means hit.",
      ],
      servers: 3,
      readonly: false,
      allowed: () => [".wh", ".5wh"],
      steps: [
        { shows: byServer("..."), rows: 1 },
        {
          does(stage) {
            stage.scale(3);
            stage.admit();
          },
          shows: byServer("h.."),
          rows: 2,
        },
        { does: (stage) => stage.admit(), shows: byServer("hh."), rows: 2 },
        { does: (stage) => stage.admit(), shows: ALL_HIT, rows: 1 },
        { does: (stage) => stage.settled(), shows: ALL_HIT, rows: 1 },
      ],
    },
    {
      title: "everything hits",
      text: ["All servers are ready, and each letter is found where it belongs: 26 hits."],
      servers: 3,
      readonly: false,
      allowed: () => ["h"],
      steps: [{ shows: ALL_HIT, rows: 3 }],
    },
    {
      title: "a server is deleted and comes back",
      text: [
        "kubectl delete pod server-1: after prestop hook and SIGTERM it answers 503 (5) while it drains.",
        "Then it is gone (.) until the StatefulSet creates a new server-1 with the same name and volume.",
        "Its letters hit at once: none is missing, and none is written again.",
      ],
      servers: 3,
      readonly: false,
      allowed: (letter) => placement(letter, 3) === 1 ? DELETED : ["h"],
      steps: [
        { shows: ALL_HIT, rows: 1 },
        { does: (stage) => stage.delete("server-1"), shows: byServer("h5h"), rows: 1 },
        { shows: byServer("h.h"), rows: 2 },
        {
          async does(stage) {
            stage.admit();
            await stage.settled();
          },
          shows: ALL_HIT,
          rows: 2,
        },
      ],
    },
    {
      title: "rebalance from 3 to 2 servers, then scale down",
      text: [
        "A client that only reads gets a list of two servers. A letter is a miss (m) if its new owner",
        "does not hold it yet. kvs rebalance moves such letters, and m turns into h. Then",
        "kubectl scale --replicas=2 takes server-2 away, and the client sees no change.",
      ],
      servers: 2,
      readonly: true,
      allowed: (letter) => stays(letter) ? ["h"] : ["mh"],
      steps: [
        { shows: eachLetter((letter) => stays(letter) ? "h" : "m"), rows: 2 },
        { does: (stage) => stage.rebalance(3, 2), shows: ALL_HIT, rows: 2 },
        {
          async does(stage) {
            stage.scale(2);
            await stage.settled();
          },
          shows: ALL_HIT,
          rows: 2,
        },
      ],
    },
    {
      title: "scale up to 3 servers, then rebalance",
      text: [
        "A client that only reads gets a list of three servers. First server-2 is not there (.), then",
        "it is there and empty (m). kvs rebalance moves each letter to its new owner: h again.",
      ],
      servers: 3,
      readonly: true,
      allowed(letter) {
        if (stays(letter)) return ["h"];
        return leaves(letter) ? [".mh", ".5mh"] : ["mh"];
      },
      steps: [
        {
          shows: eachLetter((letter) => stays(letter) ? "h" : leaves(letter) ? "." : "m"),
          rows: 2,
        },
        {
          async does(stage) {
            stage.scale(3);
            stage.admit();
            await stage.settled();
          },
          shows: eachLetter((letter) => stays(letter) ? "h" : "m"),
          rows: 2,
        },
        { does: (stage) => stage.rebalance(2, 3), shows: ALL_HIT, rows: 2 },
      ],
    },
    {
      title: "the whole set is deleted and comes back from disk",
      text: [
        "kubectl delete statefulset server, then apply again: all servers shut down at once (5) and are",
        "gone (.), then they come up in order. The volumes stayed: h at once, no m, no w, no x.",
      ],
      servers: 3,
      readonly: false,
      allowed: () => DELETED,
      steps: [
        { shows: ALL_HIT, rows: 1 },
        { does: (stage) => stage.deleteAll(), shows: byServer("555"), rows: 1 },
        { shows: byServer("..."), rows: 2 },
        {
          does(stage) {
            stage.scale(3);
            stage.admit();
          },
          shows: byServer("h.."),
          rows: 2,
        },
        { does: (stage) => stage.admit(), shows: byServer("hh."), rows: 2 },
        {
          async does(stage) {
            stage.admit();
            await stage.settled();
          },
          shows: ALL_HIT,
          rows: 2,
        },
      ],
    },
  ];
}
