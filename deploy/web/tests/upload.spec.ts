import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { environment } from "./harness/environment";
import { expect, test } from "./harness/test";

const MEBIBYTE = 1024 * 1024;

/** Begins a call whose body is to have `length` bytes: one message, of which none but its length is sent. */
async function begin(length: number): Promise<Socket> {
  const { hostname, port, host } = new URL(environment.pages);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length - prefix.length, 1);
  const head = [
    "POST /haven.identity.v1.AccountService/CheckPassword HTTP/1.1",
    `host: ${host}`,
    `origin: ${environment.pages}`,
    "content-type: application/grpc-web+proto",
    `content-length: ${length}`,
    "connection: close",
  ];
  socket.write(`${head.join("\r\n")}\r\n\r\n`);
  socket.write(prefix);
  return socket;
}

/** The whole answer. */
async function answer(socket: Socket): Promise<string> {
  let text = "";
  socket.setTimeout(10_000, () => socket.destroy(new Error("there was no answer in 10 seconds")));
  for await (const part of socket) {
    text += part;
  }
  return text;
}

test("a request that is too large is refused before it is there, and the server of the pages stores none of it", async () => {
  // With the reason of the service, to which its beginning was passed on.
  const refused = await answer(await begin(MEBIBYTE + MEBIBYTE / 2));
  expect(refused).toMatch(/^HTTP\/1\.1 200 /);
  expect(refused).toMatch(/grpc-status: ?(8|11)\b/);

  // By the server of the pages.
  expect(await answer(await begin(3 * MEBIBYTE))).toMatch(/^HTTP\/1\.1 413 /);
});
