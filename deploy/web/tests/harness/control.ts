import { createConnection, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";

/** The connection to the control of the stack: a request and its answer are a line of JSON each. */
export class Control {
  #socket: Socket;
  #lines: AsyncIterator<string>;
  #reader: Interface;
  #last: Promise<unknown> = Promise.resolve();

  constructor(port: number) {
    this.#socket = createConnection({ host: "127.0.0.1", port });
    this.#reader = createInterface({ input: this.#socket });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** Runs a command. Throws what the stack says when it fails. */
  run<T>(command: string, parameters: object = {}): Promise<T> {
    const answer = this.#last.then(() => this.#exchange({ command, ...parameters }));
    this.#last = answer.catch(() => undefined);
    return answer as Promise<T>;
  }

  close(): void {
    this.#reader.close();
    this.#socket.destroy();
  }

  async #exchange(request: { command: string }): Promise<unknown> {
    this.#socket.write(`${JSON.stringify(request)}\n`);
    const line = await this.#lines.next();
    if (line.done) {
      throw new Error(`${request.command}: the control of the stack has closed the connection`);
    }
    const answer = JSON.parse(line.value);
    if (answer.error !== undefined) {
      throw new Error(`${request.command}: ${answer.error}`);
    }
    return answer.result;
  }
}
