import * as z from "zod/mini";

/**
 * The addresses of the services, from `/config.json` beside the built files, so that one build serves any installation. An
 * empty address is the origin of the page itself, where a proxy passes the calls on.
 */
export interface Config {
  identity: string;
  data: string;
}

const address = z.string().check(
  z.refine((value) => value === "" || isOrigin(value), {
    error: "an address is an origin with https, such as https://identity.example.org, or empty",
  }),
);

/** Without TLS only this machine is reached: others on the way would read passwords and tokens. */
function isOrigin(value: string): boolean {
  if (!URL.canParse(value)) {
    return false;
  }
  const { origin, protocol, hostname } = new URL(value);
  const isLocal = hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
  return origin === value && (protocol === "https:" || (protocol === "http:" && isLocal));
}

const schema = z.strictObject({ identity: address, data: address });

/** Loads the configuration. Throws when the file is missing or malformed: the page then cannot work at all. */
export async function loadConfig(): Promise<Config> {
  const response = await fetch("/config.json", { cache: "no-cache", credentials: "omit" });
  if (!response.ok) {
    throw new Error(`/config.json answered ${response.status}`);
  }
  const { identity, data } = schema.parse(await response.json());
  return { identity: identity || location.origin, data: data || location.origin };
}
