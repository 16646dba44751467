import { type Failure, failureOf, isTransient } from "../../api/failure";
import type { ExportPart, ExportSource } from "./export-source";
import { differencesOf, type Rows, sumOf, totalOf } from "./exported-rows";

/** The time that a stream has, in milliseconds: the server's maximum. */
const TIMEOUT = 600_000;
/** The time without a part after which a stream counts as broken. The server reads a page for at most ten seconds. */
const SILENCE = 30_000;
/** The attempts in a row that may end without a new part. */
const ATTEMPTS = 5;
/** The longest pause before an attempt. After a refusal for longer, the person continues the export. */
const LONGEST_PAUSE = 10_000;

/** What has arrived from a service. */
interface Arrived {
  source: ExportSource;
  resumeToken: string;
  rows: Rows;
  unreadable: number;
  /** The parts as JSON, one a line, in memory of the browser that can be on disk. */
  lines: Blob[];
  bytes: number;
  manifest: ExportPart["manifest"];
}

/** How far an export is. */
export interface ExportProgress {
  source: ExportSource["name"];
  rows: number;
  bytes: number;
  /** Whether the stream broke, and is continued. */
  isBroken: boolean;
}

/** A complete export. */
export interface ExportFile {
  file: Blob;
  rows: Rows;
  unreadable: number;
}

/** An export that is over without a file, because what arrived is not what the services counted. */
export class IncompleteExport extends Error {
  constructor(readonly differences: string[]) {
    super("the export is incomplete");
  }
}

interface ExportRunOptions {
  sources: ExportSource[];
  userId: string;
  /** Exchanges the tokens of the session. */
  renew: () => Promise<void>;
  onProgress: (progress: ExportProgress) => void;
  pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/**
 * The export of both services into one file. A stream that breaks is continued after the last part that arrived. What has
 * arrived stays here, so an export that failed is continued by another `run`.
 */
export class ExportRun {
  readonly #arrived: Arrived[];
  readonly #options: ExportRunOptions;

  constructor(options: ExportRunOptions) {
    this.#options = options;
    this.#arrived = options.sources.map((source) => ({
      source,
      resumeToken: "",
      rows: new Map(),
      unreadable: 0,
      lines: [],
      bytes: 0,
      manifest: undefined,
    }));
  }

  /** Reads what is missing. Throws a call's error, or IncompleteExport. */
  async run(signal: AbortSignal): Promise<ExportFile> {
    for (const arrived of this.#arrived) {
      if (!arrived.manifest) {
        await this.#read(arrived, signal);
      }
    }
    const differences = this.#arrived.flatMap(({ rows, manifest }) => differencesOf(rows, manifest?.rows ?? new Map()));
    if (this.#arrived.some(({ manifest }) => manifest?.userId !== this.#options.userId)) {
      differences.push("The export is of another account.");
    }
    if (differences.length > 0) {
      throw new IncompleteExport(differences);
    }
    return {
      file: fileOf(this.#arrived),
      rows: this.#arrived.reduce<Rows>((sum, { rows }) => sumOf(sum, rows), new Map()),
      unreadable: this.#arrived.reduce((sum, { unreadable }) => sum + unreadable, 0),
    };
  }

  /** Reads the export of one service up to its manifest. */
  async #read(arrived: Arrived, signal: AbortSignal): Promise<void> {
    const pause = this.#options.pause ?? wait;
    for (let attempt = 0; ; attempt += 1) {
      const before = arrived.resumeToken;
      // An export from the beginning would return the rows that have arrived a second time.
      if (before === "" && arrived.lines.length > 0) {
        throw new IncompleteExport(["A part that arrived cannot be continued."]);
      }
      let failure: Failure | undefined;
      let cause: unknown;
      try {
        await this.#readStream(arrived, signal);
      } catch (error) {
        failure = failureOf(error);
        cause = error;
      }
      if (arrived.manifest) {
        return;
      }
      signal.throwIfAborted();
      if (arrived.resumeToken !== before) {
        attempt = 0;
      }
      const delay = Math.max(failure?.retryAfter ?? 0, 500 * 2 ** attempt);
      if (!canContinue(failure) || attempt >= ATTEMPTS || delay > LONGEST_PAUSE) {
        throw cause ?? new IncompleteExport(["A stream has ended before its last part."]);
      }
      this.#report(arrived, true);
      if (failure?.reason === "TOKEN_EXPIRED") {
        await this.#options.renew();
      } else {
        await pause(delay, signal);
      }
    }
  }

  /** Reads parts until the stream ends or breaks. */
  async #readStream(arrived: Arrived, signal: AbortSignal): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE);
    const stop = () => silence.abort();
    signal.addEventListener("abort", stop);
    try {
      const options = { signal: silence.signal, timeoutMs: TIMEOUT };
      for await (const part of arrived.source.open(arrived.resumeToken, options)) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE);
        const line = new Blob([part.json]);
        arrived.lines.push(line);
        arrived.bytes += line.size;
        arrived.rows = sumOf(arrived.rows, part.rows);
        arrived.unreadable += part.unreadable;
        arrived.resumeToken = part.resumeToken;
        arrived.manifest = part.manifest;
        this.#report(arrived, false);
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
  }

  #report({ source }: Arrived, isBroken: boolean): void {
    this.#options.onProgress({
      source: source.name,
      rows: this.#arrived.reduce((sum, { rows }) => sum + totalOf(rows), 0),
      bytes: this.#arrived.reduce((sum, { bytes }) => sum + bytes, 0),
      isBroken,
    });
  }
}

/**
 * Whether a stream that ended without a manifest is continued: after a loss of the connection, an end by the server's limits or
 * our own silence limit, which shows as CANCELLED, or without an error at all.
 */
function canContinue(failure: Failure | undefined): boolean {
  if (!failure) {
    return true;
  }
  const others = ["TOKEN_EXPIRED", "CANCELLED", "ACCOUNT_NOT_READY", "RATE_LIMITED"];
  return isTransient(failure) || others.includes(failure.reason);
}

/** Makes the file: one JSON document, with a line for each part. */
function fileOf(arrived: Arrived[]): Blob {
  const document: BlobPart[] = ['{"format":"haven.export","format_version":1'];
  for (const { source, lines } of arrived) {
    document.push(`,"${source.name}":[\n`);
    for (const [number, line] of lines.entries()) {
      document.push(number === 0 ? "" : ",\n", line);
    }
    document.push("\n]");
  }
  document.push("}\n");
  return new Blob(document, { type: "application/json" });
}

function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
