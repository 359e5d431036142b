// Types for the part of cli-progress that is used here; the package is published without any.

declare module "cli-progress" {
  /** Where a bar is drawn. */
  export interface BarStream {
    readonly isTTY: boolean;
    readonly columns: number;
    write(text: string): unknown;
  }

  export interface BarState {
    readonly value: number;
    readonly total: number;
    /** 0 to 1. */
    readonly progress: number;
    readonly maxWidth: number;
  }

  export interface BarOptions<P> {
    readonly format: (options: unknown, state: BarState, payload: P) => string;
    readonly stream: BarStream;
    readonly clearOnComplete?: boolean;
    readonly fps?: number;
  }

  export class SingleBar<P = unknown> {
    constructor(options: BarOptions<P>);
    start(total: number, value: number, payload: P): void;
    setTotal(total: number): void;
    update(value: number): void;
    stop(): void;
  }
}
