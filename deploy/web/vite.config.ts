import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import type { Plugin, ProxyOptions } from "vite";
import { defineConfig } from "vitest/config";
import { licenses } from "./licenses.ts";

/**
 * No page calls with messages in JSON, and the modules for it are 9 KB of the sign-up page. Pages that write JSON files still
 * can: they load what they need of @bufbuild/protobuf.
 */
const withoutJson: Plugin = {
  name: "haven:without-json",
  apply: "build",
  enforce: "pre",
  resolveId: (source, importer) =>
    source === "@bufbuild/protobuf" && importer?.endsWith("/@connectrpc/connect/dist/esm/protocol/serialization.js")
      ? fileURLToPath(new URL("src/api/without-json.ts", import.meta.url))
      : null,
};

/** What the first page loads is one file: it compresses by 2 KB better than the parts that other pages need too. */
const firstPage = {
  name: "page",
  test: /\/node_modules\/(react|react-dom|scheduler|react-hook-form|zod|wouter|regexparam|use-sync-external-store|@connectrpc)\/|\/src\/(ui|app|sign-up|gen-sign-up|gen\/google|api\/(clients|failure|request-id|session|without-json))\b/,
};

/** The headers of every answer, as nginx has them. `$wasm` is the variable of nginx.conf. */
function headers(): [name: string, value: string][] {
  const lines = readFileSync(new URL("headers.conf", import.meta.url), "utf8").split("\n");
  return lines
    .filter((line) => line.startsWith("add_header "))
    .map((line) => {
      const [, name, value] = /^add_header (\S+) "([^"]*)" always;$/.exec(line) ?? [];
      if (name === undefined || value === undefined) {
        throw new Error(
          `headers.conf: a header is a line \`add_header NAME "VALUE" always;\`, and this is none: ${line}`,
        );
      }
      return [name, value];
    });
}

/** `vite preview` with the headers of an installation. */
const withHeaders: Plugin = {
  name: "haven:headers",
  configurePreviewServer: (server) => {
    const all = headers();
    server.middlewares.use((request, response, next) => {
      const wasm = request.url?.startsWith("/assets/decryption-worker-") ? " 'wasm-unsafe-eval'" : "";
      for (const [name, value] of all) {
        response.setHeader(name, value.replace("$wasm", wasm));
      }
      next();
    });
  },
};

/**
 * Passes calls on to the services that the environment names, so that the pages and the calls have one origin, and the browser
 * need not trust the authority of the services' certificates. `cargo dev --web` sets it.
 */
function proxy(): Record<string, ProxyOptions> {
  const { HAVEN_IDENTITY, HAVEN_DATA, HAVEN_CA } = process.env;
  if (!HAVEN_IDENTITY || !HAVEN_DATA || !HAVEN_CA) {
    return {};
  }
  const agent = new Agent({ ca: readFileSync(HAVEN_CA), keepAlive: true });
  const to = (target: string): ProxyOptions => ({ target, agent, changeOrigin: true });
  return { "/haven.identity.v1.": to(HAVEN_IDENTITY), "/haven.data.v1.": to(HAVEN_DATA) };
}

export default defineConfig({
  plugins: [react(), withoutJson, withHeaders, licenses],
  build: {
    target: "es2023",
    // A data URL is another source than 'self', which is all that the Content-Security-Policy admits.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { output: { codeSplitting: { groups: [firstPage] } } },
  },
  worker: { format: "es" },
  server: { proxy: proxy() },
  preview: { proxy: proxy(), cors: false },
  test: {
    environment: "jsdom",
    include: ["src/**/*.test.ts", "src/**/*.test.tsx"],
    setupFiles: ["src/test-setup.ts"],
    restoreMocks: true,
    testTimeout: 60_000,
  },
});
